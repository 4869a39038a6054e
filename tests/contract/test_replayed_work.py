"""Work under an Idempotency-Key whose caller leaves, that crashes, or whose key's keeper does not answer."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from services.kernel import replay
from services.kernel.caller import Caller, caller, set_caller
from services.kernel.database import database_client
from services.kernel.errors import Kind, ServiceError
from services.kernel.replay import Attempt, Earlier, Replays
from services.voice.answers import kept_answers
from services.voice.blobs import Keys

METHOD, KEY = "newvisions.voice.v1.VoiceService.CreateVoice", "k"


class Away(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SERVICE_UNAVAILABLE"


class Refused(ServiceError):
    kind, reason = Kind.CONFLICT, "REFUSED"


class Unheard:
    """Implements Replays: keeps what it is given, and may not answer."""

    def __init__(self, kept: Replays) -> None:
        self._kept = kept
        self.answer: Exception | None = None
        self.silent = False
        self.away = 0
        self.claimed, self.freed = asyncio.Event(), asyncio.Event()

    async def claim(self, attempt: Attempt) -> Earlier | None:
        earlier = await self._kept.claim(attempt)
        self.claimed.set()
        if self.silent:
            await asyncio.Event().wait()
        if self.answer:
            raise self.answer
        return earlier

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        await self._kept.keep(attempt, answer)

    async def free(self, attempt: Attempt) -> None:
        if self.away:
            self.away -= 1
            raise Away("Away.")
        await self._kept.free(attempt)
        self.freed.set()

    async def until_free(self) -> bool:
        async with asyncio.timeout(5):
            await self.freed.wait()
        attempt = Attempt(caller().user_id, METHOD, KEY, b"another request", uuid4().hex)
        return await self._kept.claim(attempt) is None


class Work:
    """Goes on until it is told how to end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.end: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> bytes:
        self.begun.set()
        return await self.end


@pytest.fixture
async def replays(mongo_url: str) -> AsyncIterator[Unheard]:
    set_caller(Caller(user_id=uuid4().hex, headers={"idempotency-key": KEY}))
    async with database_client(mongo_url, 8, seconds=10) as client:
        answers = kept_answers(
            client[f"v_{uuid4().hex}"]["answers"], Keys([bytes(32)]), lambda: datetime.now(UTC)
        )
        yield Unheard(answers)


@pytest.fixture
async def work() -> Work:
    return Work()


async def asked(replays: Replays, work: Work) -> bytes:
    return await replay.once(replays, METHOD, b"request", work, 5)


async def left(replays: Replays, work: Work) -> None:
    """A caller who goes while it is worked for them."""
    call = asyncio.create_task(asked(replays, work))
    await work.begun.wait()
    call.cancel()
    await asyncio.wait([call])


@pytest.mark.parametrize("away", [0, 1])
async def test_a_claim_whose_answer_was_lost_holds_no_key(replays: Unheard, work: Work, away: int) -> None:
    replays.answer, replays.away = Away("The answer was lost."), away
    with pytest.raises(Away):
        await asked(replays, work)
    assert await replays.until_free()


async def test_a_caller_who_leaves_while_a_key_is_claimed_does_not_hold_it(
    replays: Unheard, work: Work
) -> None:
    replays.silent = True
    call = asyncio.create_task(asked(replays, work))
    await replays.claimed.wait()
    call.cancel()
    assert await replays.until_free()


async def test_a_key_that_cannot_be_given_back_does_not_hide_why_the_work_failed(
    replays: Unheard, work: Work
) -> None:
    replays.away = 1
    work.end.set_exception(Refused("No."))
    with pytest.raises(Refused):
        await asked(replays, work)


async def test_a_crash_after_its_caller_left_is_logged(replays: Unheard, work: Work) -> None:
    await left(replays, work)
    with capture_logs() as logs:
        work.end.set_exception(RuntimeError("A bug."))
        await replay.finish(5)
    [crash] = [line for line in logs if line["event"] == "rpc_crashed"]
    assert (crash["method"], repr(crash["exc_info"])) == (METHOD, "RuntimeError('A bug.')")


@pytest.mark.parametrize("failure", [Refused("No."), None], ids=["refused", "done"])
async def test_what_is_no_crash_is_not_logged_as_one(
    replays: Unheard, work: Work, failure: Exception | None
) -> None:
    await left(replays, work)
    with capture_logs() as logs:
        if failure:
            work.end.set_exception(failure)
        else:
            work.end.set_result(b"answer")
        await replay.finish(5)
    assert not [line for line in logs if line["event"] == "rpc_crashed"]


async def test_a_process_that_stops_waits_for_work_whose_caller_left(replays: Unheard, work: Work) -> None:
    await left(replays, work)
    stopping = asyncio.create_task(replay.finish(5))
    work.end.set_result(b"answer")
    await stopping
    assert await asked(replays, Work()) == b"answer"


async def test_work_that_does_not_end_is_cancelled_and_gives_its_key_back(
    replays: Unheard, work: Work
) -> None:
    await left(replays, work)
    await replay.finish(0.01)
    assert work.end.cancelled()
    assert await replays.until_free()
