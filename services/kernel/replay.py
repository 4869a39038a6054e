"""A request again, under the same Idempotency-Key: the first answer, and no second effect.

For methods whose policy says `replayed`. Only success is kept: a failure had no effect, and gives its key
back. A service that needs more than that (perform) does it by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import uuid4

import structlog

from services.kernel.caller import caller
from services.kernel.errors import Kind, ServiceError

log = structlog.get_logger()

_POLL_SECONDS: Final = 0.02
_LONGEST_POLL_SECONDS: Final = 0.25
# Without a deadline of the caller's.
_USUAL_SECONDS: Final = 10.0


class KeyInvalid(ServiceError):
    kind, reason = Kind.INVALID, "IDEMPOTENCY_KEY_INVALID"
    action = "Send 1 to 255 printable ASCII characters as Idempotency-Key."


class KeyReused(ServiceError):
    kind, reason = Kind.CONFLICT, "IDEMPOTENCY_KEY_REUSED"
    action = "Use a new Idempotency-Key for another request."


class StillUnderWay(ServiceError):
    kind, reason = Kind.DEADLINE, "DEADLINE_EXCEEDED"
    action = "Ask again with the same Idempotency-Key."


@dataclass(frozen=True, slots=True)
class Attempt:
    """`user_id` is empty for strangers. `attempt_id` tells this attempt from others with the same key."""

    user_id: str
    method: str
    key: str
    request: bytes
    attempt_id: str


@dataclass(frozen=True, slots=True)
class Earlier:
    same_request: bool
    # None while it is under way.
    answer: bytes | None


class Replays(Protocol):
    """What a service keeps in its own database, for 24 hours. Requests and answers may hold secrets."""

    async def claim(self, attempt: Attempt) -> Earlier | None:
        """Take the key. None when that worked, also when whoever had it died in the middle."""

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        """Changes nothing when the key is not this attempt's any more."""

    async def free(self, attempt: Attempt) -> None:
        """The same."""


def idempotency_key() -> str:
    """Of the request being served; empty without one. Raises KeyInvalid."""
    key = caller().headers.get("idempotency-key")
    if key is None:
        return ""
    if not (1 <= len(key) <= 255 and key.isascii() and key.isprintable()):
        raise KeyInvalid("The Idempotency-Key is not 1 to 255 printable characters long.")
    return key


async def once(
    replays: Replays,
    method: str,
    request: bytes,
    work: Callable[[], Awaitable[bytes]],
    seconds: float | None,
) -> bytes:
    """The answer of `work`, or the one it gave before. Waits for another one under way, `seconds` at most."""
    attempt = Attempt(caller().user_id, method, idempotency_key(), request, uuid4().hex)
    clock = asyncio.get_running_loop().time
    give_up = clock() + (_USUAL_SECONDS if seconds is None else seconds)
    pause = _POLL_SECONDS
    while (earlier := await replays.claim(attempt)) is not None:
        if not earlier.same_request:
            raise KeyReused("This Idempotency-Key was used for another request.")
        if earlier.answer is not None:
            log.info("answer_replayed", method=method)
            return earlier.answer
        if clock() >= give_up:
            raise StillUnderWay("The first request with this Idempotency-Key is still under way.")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)
    task = asyncio.create_task(_kept(replays, attempt, work))
    _under_way.add(task)
    task.add_done_callback(_ended)
    # A caller who leaves in the middle asks again: there must be one outcome then.
    return await asyncio.shield(task)


# The event loop itself keeps no hold of its tasks.
_under_way: set[asyncio.Task[bytes]] = set()


def _ended(task: asyncio.Task[bytes]) -> None:
    _under_way.discard(task)
    if not task.cancelled():
        # Told already to whoever is still there.
        task.exception()


async def _kept(replays: Replays, attempt: Attempt, work: Callable[[], Awaitable[bytes]]) -> bytes:
    try:
        answer = await work()
    except BaseException:
        await replays.free(attempt)
        raise
    try:
        await replays.keep(attempt, answer)
    except ServiceError as error:
        # It has happened, and its caller must learn that.
        log.warning("answer_not_kept", method=attempt.method, cause=error.reason)
    return answer
