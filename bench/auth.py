"""How long do credits and logins take, and how many tokens does the edge verify a second?

Credits are asked of the auth service itself, as the perform service asks them; each pair is one
performance: reserve, then settle. Logins go through the gateway, with Argon2id at its full cost.
Tokens with a signature of somebody else cost the edge as much as good ones, and it refuses them by
itself: "token_refused" is what it can do. "token_verified" are good ones that a service refuses
for their role, without asking its store; "no_token" is a call as cheap that needs none.

    python -m bench.auth [--callers 1 16] [--each 100] [--seconds 4] [--only credits logins tokens]
"""

import argparse
import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from bench.report import line, percentiles
from dev.performer import Performer
from dev.stack import Stack
from newvisions.auth.v1 import auth_service_pb2 as pb
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceStub

_WARM_UP = 20
_CHARACTERS = 100

# One thing that a caller does, and how long each part of it took.
Ask = Callable[[Performer], Awaitable[dict[str, float]]]


async def in_turns(performers: Sequence[Performer], each: int, ask: Ask) -> list[dict[str, float]]:
    """Every caller asks `each` times, one after the other; the callers do so at once."""

    async def turns(performer: Performer) -> list[dict[str, float]]:
        return [await ask(performer) for _ in range(each)]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(turns(performer)) for performer in performers]
    return [parts for task in tasks for parts in task.result()]


def credits_of(auth: AuthServiceStub) -> Ask:
    async def ask(performer: Performer) -> dict[str, float]:
        began, performance = Timestamp(), str(uuid4())
        began.GetCurrentTime()
        asked = perf_counter()
        await auth.ReserveCredits(
            pb.ReserveCreditsRequest(
                user_id=performer.user_id,
                performance_id=performance,
                max_characters=2 * _CHARACTERS,
                began_at=began,
            )
        )
        reserved = perf_counter()
        await auth.SettleCredits(
            pb.SettleCreditsRequest(
                user_id=performer.user_id, performance_id=performance, characters=_CHARACTERS
            )
        )
        settled = perf_counter()
        return {"reserve": reserved - asked, "settle": settled - reserved, "both": settled - asked}

    return ask


async def log_in(performer: Performer) -> dict[str, float]:
    asked = perf_counter()
    await Performer.logged_in(performer.http, performer.username)
    return {"login": perf_counter() - asked}


async def measure(performers: Sequence[Performer], callers: Sequence[int], each: int, ask: Ask) -> None:
    await in_turns(performers[:1], _WARM_UP, ask)
    for number in callers:
        began = perf_counter()
        done = await in_turns(performers[:number], each, ask)
        rate = round(len(done) / (perf_counter() - began), 1)
        for figure in done[0]:
            taken = percentiles([parts[figure] for parts in done])
            line(bench="auth", figure=figure, callers=number, per_second=rate, **taken)


async def answered(port: int, request: bytes, expected: int, until: float) -> int:
    """How often one connection was answered; raises when an answer is not the expected one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while perf_counter() < until:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if int(head.split(b" ", 2)[1]) != expected:
            raise RuntimeError(f"not {expected}: {head.decode()}")
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        count += 1
    writer.close()
    await writer.wait_closed()
    return count


async def tokens(stack: Stack, bearer: str, callers: int, seconds: float) -> None:
    host, forged = "HTTP/1.1\r\nhost: 127.0.0.1\r\n", f"{bearer[:-8]}AAAAAAAA"
    for figure, request, status in (
        ("token_refused", f"GET /v1/users/me {host}authorization: {forged}\r\n\r\n", 401),
        ("token_verified", f"GET /v1/admin/audit-log {host}authorization: {bearer}\r\n\r\n", 403),
        ("no_token", f"GET /v1/auth/jwks.json {host}\r\n", 200),
    ):
        began = perf_counter()
        counts = await asyncio.gather(
            *(answered(stack.port, request.encode(), status, began + seconds) for _ in range(callers))
        )
        rate = round(sum(counts) / (perf_counter() - began))
        line(bench="auth", figure=figure, callers=callers, count=sum(counts), per_second=rate)


async def bench(data: Path, asked: argparse.Namespace) -> None:
    # All callers share an address here; failures are counted as always, and none of them waits.
    patient = {"AUTH_SLOWDOWN_ADDRESS_FAILURES": "10000", "AUTH_SLOWDOWN_ACCOUNT_FAILURES": "100"}
    environment = {"AUTH_MONTHLY_LIMIT": "10000000", **patient}
    # A process each, so that the auth service can be asked where the perform service asks it.
    stack = Stack(data, processes="many", engine="tone", limits=None, environment=environment)
    async with stack, AsyncExitStack() as entered:
        performers = [
            await entered.enter_async_context(Performer.signed_up(stack.url, code))
            for code in await stack.activation_codes(max(asked.callers))
        ]
        address = stack.settings["PERFORM_AUTH_ADDRESS"]
        channel = await entered.enter_async_context(grpc.aio.insecure_channel(address))
        if "credits" in asked.only:
            auth = AuthServiceStub(channel)  # type: ignore[no-untyped-call]
            await measure(performers, asked.callers, asked.each, credits_of(auth))
        if "logins" in asked.only:
            await measure(performers, asked.callers, max(1, asked.each // 5), log_in)
        if "tokens" in asked.only:
            bearer = performers[0].http.headers["authorization"]
            await tokens(stack, bearer, max(asked.callers), asked.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--each", type=int, default=100, help="performances of each caller")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long tokens are verified")
    parts = ["credits", "logins", "tokens"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    with tempfile.TemporaryDirectory(prefix="newvisions-bench-") as data:
        asyncio.run(bench(Path(data), parser.parse_args()))


if __name__ == "__main__":
    main()
