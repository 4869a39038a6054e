import asyncio
import contextlib
import datetime
import subprocess
import time
from datetime import UTC

import grpc
import httpx
import requests
import structlog

log = structlog.get_logger()


def ports(server, credentials):
    # ruleid: insecure-port-outside-the-kernel
    server.add_insecure_port("[::]:50051")
    # ruleid: insecure-port-outside-the-kernel
    grpc.aio.insecure_channel("voice:50051")
    # ok: insecure-port-outside-the-kernel
    server.add_secure_port("[::]:50051", credentials)


async def blocking(path):
    # ruleid: blocking-call-in-async
    time.sleep(1)
    # ruleid: blocking-call-in-async
    requests.get("https://example.com")
    # ruleid: blocking-call-in-async
    subprocess.run(["true"])
    # ruleid: blocking-call-in-async
    httpx.get("https://example.com")
    # ruleid: blocking-call-in-async
    path.read_bytes()
    # ruleid: blocking-call-in-async
    with open("/etc/hosts") as file:
        file.read()


def not_in_a_loop(path):
    # ok: blocking-call-in-async
    time.sleep(1)
    # ok: blocking-call-in-async
    return path.read_bytes()


async def elsewhere(path):
    # ok: blocking-call-in-async
    await asyncio.to_thread(path.read_text)
    # ok: blocking-call-in-async
    await asyncio.sleep(1)


class Peer:
    async def calls(self, request, outgoing):
        # ruleid: peer-called-without-a-deadline
        await self._stub.LeaseVoice(request)
        # ok: peer-called-without-a-deadline
        await self._stub.LeaseVoice(request, timeout=3)
        # ok: peer-called-without-a-deadline
        await self._stub.LeaseVoice(request, **outgoing(3))


def events(voice_id, name, error):
    # ruleid: log-event-is-composed, log-event-is-no-fixed-name
    log.info(f"voice {voice_id} made")
    # ruleid: log-event-is-composed, log-event-is-no-fixed-name
    log.info("voice %s made" % voice_id)
    # ruleid: log-event-is-no-fixed-name
    log.warning(name)
    # ruleid: log-event-is-no-fixed-name
    log.error(str(error))
    # ok: log-event-is-composed, log-event-is-no-fixed-name
    log.info("voice_made", voice_id=voice_id)


def secrets_in_logs(user, password, text, key_id):
    # ruleid: secret-in-a-log
    log.info("user_logged_in", password=password)
    # ruleid: secret-in-a-log
    log.info("user_logged_in", user_id=user.id, refresh_token=user.token)
    # ruleid: secret-in-a-log
    log.info("note_written", text=text)
    # ruleid: secret-in-a-log
    log.warning("database_away", mongo_url=user.url)
    # ok: secret-in-a-log
    log.info("note_written", text=len(text))
    # ok: secret-in-a-log
    log.info("key_rotated", key_id=key_id, characters=len(text))


def passed_over(work):
    # ruleid: failure-passed-over
    try:
        work()
    except Exception:
        pass
    # ruleid: failure-passed-over
    try:
        work()
    except:
        pass
    # ruleid: failure-passed-over
    with contextlib.suppress(Exception):
        work()
    # ok: failure-passed-over
    with contextlib.suppress(FileNotFoundError):
        work()
    # ok: failure-passed-over
    try:
        work()
    except Exception:
        log.exception("work_crashed")
        raise


async def tasks(work):
    # ruleid: task-nobody-keeps
    asyncio.create_task(work())
    # ruleid: task-nobody-keeps
    asyncio.ensure_future(work())
    # ok: task-nobody-keeps
    kept = asyncio.create_task(work())
    # ok: task-nobody-keeps
    await asyncio.create_task(work())
    async with asyncio.TaskGroup() as group:
        # ok: task-nobody-keeps
        group.create_task(work())
    return await kept


def moments(stamp):
    # ruleid: moment-without-a-zone
    datetime.datetime.now()
    # ruleid: moment-without-a-zone
    datetime.datetime.utcnow()
    # ruleid: moment-without-a-zone
    datetime.datetime.fromtimestamp(stamp)
    # ok: moment-without-a-zone
    datetime.datetime.fromtimestamp(stamp, UTC)
    # ok: moment-without-a-zone
    return datetime.datetime.now(UTC)


async def statuses(context):
    # ruleid: status-outside-the-edge
    await context.abort(grpc.StatusCode.NOT_FOUND, "no such voice")
    # ok: status-outside-the-edge
    raise LookupError("no such voice")


def unchecked(context):
    # ruleid: certificate-not-checked
    httpx.Client(verify=False, timeout=1)
    # ruleid: certificate-not-checked
    context.check_hostname = False
    # ok: certificate-not-checked
    httpx.Client(verify="/etc/authority.pem", timeout=1)


def clients():
    # ruleid: client-without-a-timeout
    httpx.AsyncClient(base_url="https://example.com")
    # ok: client-without-a-timeout
    return httpx.AsyncClient(base_url="https://example.com", timeout=5)


def words(ours, work):
    try:
        work()
    except OSError as error:
        # ruleid: words-of-a-library-to-a-caller
        raise ours(str(error)) from error
    try:
        work()
    except ValueError as error:
        # ruleid: words-of-a-library-to-a-caller
        raise ours(f"it failed: {error}") from error
    try:
        work()
    except KeyError as error:
        # ok: words-of-a-library-to-a-caller
        raise ours("It failed.") from error
