import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services.kernel.caller import limit_to
from services.perform import saga
from services.perform.background import Background
from services.perform.saga import Step
from services.perform.sound import Sound


class Broke(Exception):
    """What a step of these stories fails with."""


def does(name: str) -> Callable[[list[str]], Awaitable[None]]:
    async def do(state: list[str]) -> None:
        state.append(name)

    return do


async def breaks(state: list[str]) -> None:
    raise Broke


async def hangs(state: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        state.append("stopped")


async def test_stages_run_in_order_and_their_steps_at_once() -> None:
    met = asyncio.Barrier(2)

    async def meets(state: list[str]) -> None:
        async with asyncio.timeout(5):
            await met.wait()

    state: list[str] = []
    stages = (
        (Step("a", does("a")),),
        (Step("left", meets), Step("right", meets)),
        (Step("b", does("b")),),
    )
    await saga.run(stages, state)
    assert state == ["a", "b"]


async def test_a_step_that_is_not_needed_when_its_turn_comes_is_left_out() -> None:
    state: list[str] = []
    stages = (
        (Step("a", does("a")),),
        (Step("b", does("b")), Step("c", does("c"), needed=lambda so_far: "b" in so_far)),
        (
            Step("d", does("d"), needed=lambda so_far: "a" in so_far),
            Step("e", breaks, needed=lambda _: False),
        ),
    )
    await saga.run(stages, state)
    assert state == ["a", "b", "d"]


async def test_the_first_failure_stops_its_neighbours_and_what_would_follow() -> None:
    state: list[str] = []
    with pytest.raises(Broke):
        await saga.run(((Step("x", breaks), Step("y", hangs)), (Step("z", does("z")),)), state)
    assert state == ["stopped"]


async def test_every_undo_is_tried_and_the_failure_is_told_afterwards() -> None:
    state: list[str] = []
    stages = (
        (Step("a", does("a"), undo=breaks), Step("b", does("b"), undo=does("not b"))),
        (Step("c", does("c")), Step("d", does("d"), undo=does("not d"))),
    )
    with pytest.raises(Broke):
        await saga.undo(stages, state)
    assert sorted(state) == ["not b", "not d"]


async def test_a_listener_hears_a_small_first_chunk_and_then_all_however_late_it_comes() -> None:
    sound = Sound()
    sound.add(b"a" * 10_000)
    chunks = sound.listen()
    assert len(await anext(chunks)) == 4096
    sound.add(b"b" * 200_000)
    sound.end()
    rest = [chunk async for chunk in chunks]
    assert max(map(len, rest)) <= 64 << 10
    assert b"".join(rest) == b"a" * 5904 + b"b" * 200_000
    assert b"".join([chunk async for chunk in sound.listen()]) == bytes(sound.audio)


async def test_a_listener_who_waits_is_told_of_audio_and_of_failure() -> None:
    sound = Sound()
    chunks = sound.listen()
    waiting = asyncio.create_task(anext(chunks))
    await asyncio.sleep(0)
    sound.add(b"x")
    assert await waiting == b"x"
    sound.fail(Broke())
    with pytest.raises(Broke):
        await anext(chunks)


async def test_leaving_waits_for_work_under_way_and_stops_what_is_late() -> None:
    done: list[str] = []
    release = asyncio.Event()

    async def works() -> None:
        await release.wait()
        done.append("worked")

    async with Background(5, limit_to) as background:
        background.start(works())
        asyncio.get_running_loop().call_soon(release.set)
    assert done == ["worked"]
    async with Background(0, limit_to) as background:
        background.start(hangs(done))
        await asyncio.sleep(0)
    assert done == ["worked", "stopped"]
