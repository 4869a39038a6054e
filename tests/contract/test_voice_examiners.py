"""The processes that examine recordings: what they promise when recordings or processes misbehave."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from services.voice.domain import VoiceStoreUnavailable
from services.voice.examiners import Examiners
from services.voice.refusals import SampleQueueFull, SampleSilent, SampleUnreadable
from tests import samples

pytestmark = pytest.mark.slow

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
WORKER = b"services.voice.sample.worker"


@asynccontextmanager
async def examining(
    workers: int = 1, queue: int = 4, seconds: int = 10, processor_seconds: float | None = None
) -> AsyncIterator[Examiners]:
    examiners = Examiners(workers, queue, seconds, processor_seconds)
    await examiners.start()
    try:
        yield examiners
    finally:
        await examiners.close()


def workers_of(parent: int) -> set[int]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command, status = (process / "cmdline").read_bytes(), (process / "stat").read_text()
            state, its_parent = status.rpartition(")")[2].split()[:2]
            if WORKER in command and int(its_parent) == parent and state != "Z":
                found.add(int(process.name))
    return found


async def end_of(process: int) -> None:
    """Returns when a process that is not our child has ended."""
    handle, ended = os.pidfd_open(process), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def test_a_worker_examines_one_recording_after_another() -> None:
    async with examining() as examiners:
        first = await examiners.examine(samples.speech(suffix="wav"))
        with pytest.raises(SampleSilent, match="Nothing can be heard"):
            await examiners.examine(samples.silence())
        again = await examiners.examine(samples.speech(suffix="flac"))
    assert first == again
    assert (first.sample_rate, len(first.pcm)) == (24_000, round(first.seconds * 24_000) * 2)


async def test_a_stored_sample_is_read_again_as_it_is() -> None:
    async with examining() as examiners:
        accepted = await examiners.examine(samples.speech())
        again = await examiners.reread(accepted.mp3)
        short = await examiners.reread(samples.short_speech())
    assert (again.mp3, again.sample_rate, again.transcoded) == (accepted.mp3, 24_000, False)
    assert len(again.pcm) == pytest.approx(len(accepted.pcm), rel=0.01)
    assert short.seconds == pytest.approx(5, abs=0.1)


async def test_a_stored_sample_that_cannot_be_read_is_nothing_its_user_did_wrong() -> None:
    async with examining() as examiners:
        for damaged in (b"", os.urandom(2000), samples.text_named_mp3()):
            with pytest.raises(VoiceStoreUnavailable):
                await examiners.reread(damaged)


@linux_only
async def test_a_worker_that_gets_no_time_is_replaced_and_says_nothing_about_the_recording() -> None:
    mine = workers_of(os.getpid())
    async with examining(seconds=1) as examiners:
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())
        (hanging,) = workers_of(os.getpid()) - mine
        os.kill(hanging, signal.SIGSTOP)
        with pytest.raises(SampleQueueFull, match="busy"):
            await examiners.examine(samples.silence())
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())
        (hanging_again,) = workers_of(os.getpid()) - mine
        os.kill(hanging_again, signal.SIGSTOP)
        with pytest.raises(VoiceStoreUnavailable):
            await examiners.reread(samples.short_speech())
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())
        assert hanging not in workers_of(os.getpid())


async def test_a_recording_that_keeps_the_processor_busy_too_long_is_refused() -> None:
    async with examining(processor_seconds=0.05) as examiners:
        with pytest.raises(SampleUnreadable):
            await examiners.examine(samples.speech())
        # Its successor is there.
        with pytest.raises(SampleUnreadable):
            await examiners.examine(samples.speech())


@linux_only
async def test_a_worker_that_dies_is_replaced_and_the_recording_refused() -> None:
    mine = workers_of(os.getpid())
    async with examining() as examiners:
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())
        (dying,) = workers_of(os.getpid()) - mine
        os.kill(dying, signal.SIGSTOP)
        examination = asyncio.create_task(examiners.examine(samples.silence()))
        await asyncio.wait([examination], timeout=0.1)
        os.kill(dying, signal.SIGKILL)
        with pytest.raises(SampleUnreadable):
            await examination
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())
    assert workers_of(os.getpid()) == mine


async def test_a_caller_who_hangs_up_does_not_get_the_next_one_a_wrong_answer() -> None:
    async with examining() as examiners:
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())
        abandoned = asyncio.create_task(examiners.examine(samples.speech()))
        await asyncio.wait([abandoned], timeout=0.1)
        abandoned.cancel()
        with suppress(asyncio.CancelledError):
            await abandoned
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())


async def test_more_than_the_queue_holds_is_refused_at_once() -> None:
    async with examining(queue=1) as examiners:
        running = [asyncio.create_task(examiners.examine(samples.silence())) for _ in range(4)]
        outcomes = await asyncio.gather(*running, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(SampleQueueFull) == 2
    assert [type(outcome) for outcome in outcomes].count(SampleSilent) == 2


async def test_who_performs_goes_before_the_recordings_that_wait_and_is_never_refused() -> None:
    done: list[str] = []

    async def noted(name: str, examination: Coroutine[Any, Any, object]) -> None:
        with suppress(SampleSilent):
            await examination
        done.append(name)

    stored, silence = samples.short_speech(), samples.silence()
    async with examining(queue=1) as examiners:
        await asyncio.gather(
            noted("first upload", examiners.examine(silence)),
            noted("second upload", examiners.examine(silence)),
            noted("performer", examiners.reread(stored)),
            noted("another performer", examiners.reread(stored)),
        )
    assert done == ["first upload", "performer", "another performer", "second upload"]


async def test_who_hangs_up_while_waiting_leaves_the_turn_to_the_next() -> None:
    async with examining(queue=2) as examiners:
        tasks = [asyncio.create_task(examiners.examine(samples.silence())) for _ in range(3)]
        await asyncio.wait(tasks, timeout=0)
        tasks[1].cancel()
        again = asyncio.create_task(examiners.examine(samples.silence()))
        outcomes = await asyncio.gather(*tasks, again, return_exceptions=True)
        with pytest.raises(SampleSilent):
            await examiners.examine(samples.silence())
    silent, left = SampleSilent, asyncio.CancelledError
    assert [type(outcome) for outcome in outcomes] == [silent, left, silent, silent]


@linux_only
async def test_workers_end_with_a_parent_that_was_killed() -> None:
    program = (
        "import asyncio\n"
        "from services.voice.examiners import Examiners\n"
        "async def main():\n"
        "    await Examiners(2, 2, 5).start()\n"
        "    print('started', flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert parent.stdout is not None
    await asyncio.wait_for(parent.stdout.readline(), 30)
    orphans = workers_of(parent.pid)
    assert len(orphans) == 2
    ends = [asyncio.create_task(end_of(orphan)) for orphan in orphans]
    parent.kill()
    await parent.communicate()
    await asyncio.wait_for(asyncio.gather(*ends), 20)
