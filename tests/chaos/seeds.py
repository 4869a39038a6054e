"""One seed after another on a site, and what is said about each."""

import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable
from typing import Any


class Broken(AssertionError):
    """Something that must hold did not; the message has the seed, its plan and where the timeline is."""


async def play_on(
    site: str, seeds: Iterable[int], play: Callable[[int], Awaitable[dict[str, Any]]], failed: list[str]
) -> bool:
    """Plays until a seed breaks. Whether there may be more, on another site: this one bears its traces."""
    for seed in seeds:
        name = f"{site} {seed}"
        try:
            say(f"{name}: held, {await play(seed)}")
        except Broken as broken:
            failed.append(name)
            say(f"BROKEN {broken}")
            return True
        except Exception as error:
            failed.append(name)
            where = traceback.extract_tb(error.__traceback__)
            say(f"{name} could not be run: {error!r} at {where[-1]} {[each.lineno for each in where]}")
            return True
    return False


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
