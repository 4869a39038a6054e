"""Waits until a performance is in a certain step, as far as that can be seen from outside."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pymongo.errors import PyMongoError

from tests.chaos.performances.site import Site

_LOOK_SECONDS = 0.002
# What the provider is asked in a step.
_OPERATIONS = {"compose": ("generate", "stream"), "speak": ("speak",)}


async def until(site: Site, step: str, seconds: float) -> bool:
    """False when none was seen in that step in time."""
    seen = _SEEN[step]
    try:
        async with asyncio.timeout(seconds):
            before = await _asked(site, step)
            while not await seen(site, before):  # noqa: ASYNC110 - what is watched sends no events
                await asyncio.sleep(_LOOK_SECONDS)
    except (TimeoutError, PyMongoError):
        return False
    return True


async def _asked(site: Site, step: str) -> int:
    """How often the provider was asked for what this step asks it."""
    if step not in _OPERATIONS:
        return 0
    requests = (await site.simulator.audit())["requests"]
    return sum(int(requests.get(operation, 0)) for operation in _OPERATIONS[step])


def _performance(**where: Any) -> Callable[[Site, int], Awaitable[bool]]:
    async def seen(site: Site, _: int) -> bool:
        return await site.mongo["perform"]["performances"].find_one(where, {"_id": 1}) is not None

    return seen


async def _reserved(site: Site, _: int) -> bool:
    months = site.mongo["auth"]["credit_months"]
    return any([month["committed"] > month["used"] async for month in months.find({})])


async def _leased(site: Site, _: int) -> bool:
    return bool(await site.cache.keys("voice:pins:*"))


async def _stored(site: Site, _: int) -> bool:
    return any(path.name not in site.known_audio for path in site.audio.rglob("*.mp3"))


def _asking(step: str) -> Callable[[Site, int], Awaitable[bool]]:
    async def seen(site: Site, before: int) -> bool:
        return await _asked(site, step) > before

    return seen


_SEEN: dict[str, Callable[[Site, int], Awaitable[bool]]] = {
    "claim": _performance(phase="doing"),
    "reserve": _reserved,
    "lease": _leased,
    "compose": _asking("compose"),
    "speak": _asking("speak"),
    "store": _stored,
    "keep": _performance(phase="keeping"),
    "settle": _performance(phase="keeping"),
    "succeed": _performance(phase="done", state="succeeded"),
}
