"""Work that outlives its request, when the process stops."""

import asyncio
from collections.abc import Callable

from services.perform.background import Background


def background(stop_seconds: float) -> Background:
    return Background(stop_seconds, lambda _: None)


class Deeds:
    """What was done, in its order; each deed takes a few turns of the event loop."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun = asyncio.Event()

    async def do(self, what: str) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.done.append(what)

    async def speak(self, undo: Callable[[], object]) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            undo()


async def test_what_cancelled_work_begins_is_waited_for() -> None:
    deeds = Deeds()
    async with background(0.01) as work:
        work.start(deeds.speak(lambda: work.start(deeds.do("give back"))))
        await deeds.begun.wait()
    assert deeds.done == ["give back"]


async def test_what_work_begins_at_its_end_is_waited_for() -> None:
    deeds = Deeds()

    async def ends() -> None:
        await deeds.do("end")
        work.start(deeds.do("tell"))

    async with background(5) as work:
        work.start(ends())
    assert deeds.done == ["end", "tell"]


async def test_nothing_is_tried_again_once_the_process_stops() -> None:
    deeds = Deeds()
    async with background(5) as work:
        work.start_retrying(deeds.speak(lambda: work.start_retrying(deeds.do("try again"))))
        await deeds.begun.wait()
    await deeds.do("stopped")
    assert deeds.done == ["stopped"]
