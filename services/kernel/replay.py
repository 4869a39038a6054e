"""A request again, under the same Idempotency-Key: the first answer, and no second effect.

For methods whose policy says `replayed`. Only success is kept: a failure had no effect, and gives its key
back. A service that needs more than that (perform) does it by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

import structlog

from services.kernel.caller import caller
from services.kernel.errors import Kind, ServiceError

log = structlog.get_logger()

T = TypeVar("T")

_POLL_SECONDS: Final = 0.02
_LONGEST_POLL_SECONDS: Final = 0.25
# Without a deadline of the caller's.
_USUAL_SECONDS: Final = 10.0
# Until a key that may be ours is given back; a claim that is still on its way arrives before.
_FREE_AFTER_SECONDS: Final = (0.25, 1.0, 4.0)
# For work that was cancelled to give its key back.
_UNDO_SECONDS: Final = 2.0


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
        """Give the key back. No effect when it belongs to another attempt."""


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
    while (earlier := await _claimed(replays, attempt)) is not None:
        if not earlier.same_request:
            raise KeyReused("This Idempotency-Key was used for another request.")
        if earlier.answer is not None:
            log.info("answer_replayed", method=method)
            return earlier.answer
        if clock() >= give_up:
            raise StillUnderWay("The first request with this Idempotency-Key is still under way.")
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)
    # A caller who leaves in the middle asks again: there must be one outcome then.
    task = _begun(_kept(replays, attempt, work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(lambda ended: _tell(method, ended))
        raise


# The event loop itself keeps no hold of its tasks.
_under_way: set[asyncio.Task[Any]] = set()


async def finish(seconds: float) -> None:
    """Waits for work whose caller has left, before what it works with is closed. What is not done in time is
    cancelled, and gives its key back."""
    await _ended(seconds)
    if not _under_way:
        return
    log.warning("replayed_work_cancelled", tasks=len(_under_way))
    for task in _under_way:
        task.cancel()
    await _ended(_UNDO_SECONDS)


async def _ended(seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    give_up = clock() + seconds
    while _under_way and (left := give_up - clock()) > 0:
        await asyncio.wait(_under_way, timeout=left)


def _begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    task = asyncio.create_task(work)
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return task


def _tell(method: str, ended: asyncio.Task[bytes]) -> None:
    """Nobody is there any more to be answered, and to have it logged."""
    crash = None if ended.cancelled() else ended.exception()
    if crash is not None and not isinstance(crash, ServiceError):
        log.error("rpc_crashed", method=method, exc_info=crash)


async def _claimed(replays: Replays, attempt: Attempt) -> Earlier | None:
    try:
        return await replays.claim(attempt)
    except (ServiceError, asyncio.CancelledError):
        # It may have been written all the same, and nobody would work under it.
        _begun(_free_later(replays, attempt))
        raise


async def _free_later(replays: Replays, attempt: Attempt) -> None:
    for pause in _FREE_AFTER_SECONDS:
        await asyncio.sleep(pause)
        if await _freed(replays, attempt):
            return


async def _freed(replays: Replays, attempt: Attempt) -> bool:
    """Otherwise it expires by itself, soon after the longest that such a call may take."""
    try:
        await replays.free(attempt)
    except ServiceError as error:
        log.warning("key_not_given_back", method=attempt.method, cause=error.reason)
        return False
    return True


async def _kept(replays: Replays, attempt: Attempt, work: Callable[[], Awaitable[bytes]]) -> bytes:
    try:
        answer = await work()
    except BaseException:
        await _freed(replays, attempt)
        raise
    try:
        await replays.keep(attempt, answer)
    except ServiceError as error:
        # It has happened, and its caller must learn that.
        log.warning("answer_not_kept", method=attempt.method, cause=error.reason)
    return answer
