"""Many memos at once: the loop stays free, refusals are quick, and who hangs up gives back what was taken."""

import asyncio
import os
import signal
import time
from itertools import cycle, islice
from time import perf_counter

import grpc
import pytest

from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from services.kernel.statuses import api_error
from services.synthesis.ambience import Ambience
from services.synthesis.domain import Format
from services.synthesis.engines.tone import ToneEngine
from services.synthesis.seats import Seats
from services.synthesis.usecases import Desk
from tests.integration.synthesis_stage import (
    SECOND,
    ScriptedEngine,
    mixing_for,
    profile,
    request,
    served,
    showroom_for,
    spoken,
)
from tests.loop_watch import LoopWatch

MEMOS = 32


class Talker(ScriptedEngine):
    """Goes on for ten minutes, and counts the seconds that were taken from it."""

    taken = 0

    async def speak(self, utterance, voice):
        for _ in range(600):
            self.taken += 1
            yield SECOND


@pytest.fixture(scope="module")
def ambience():
    return Ambience.made()


@pytest.fixture
async def engines():
    never = asyncio.Event()
    return {"tone": ToneEngine(), "hangs": ScriptedEngine("hangs", SECOND, never), "talker": Talker("talker")}


@pytest.fixture
def seats(request):
    return Seats(getattr(request, "param", MEMOS))


@pytest.fixture(scope="module")
async def mixing(ambience):
    async with mixing_for(ambience, processes=2) as mixing:
        yield mixing


@pytest.fixture
async def speech(engines, seats, mixing, ambience):
    with showroom_for(ambience) as showroom:
        async with served(engines, Desk(seats, mixing), showroom) as stub:
            yield stub


async def test_the_watch_sees_a_callback_that_sleeps_and_one_that_computes():
    for keep in (time.sleep, compute):
        with LoopWatch.watching() as watch:
            await asyncio.sleep(0)
            keep(0.1)
            await asyncio.sleep(0)
        assert watch.longest_seconds > 0.05


async def test_the_watch_does_not_take_waiting_for_work():
    with LoopWatch.watching() as watch:
        waiting = asyncio.create_task(asyncio.sleep(0.1))
        await waiting
    assert watch.looks > 5
    assert watch.longest_seconds < 0.05


def compute(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_no_callback_keeps_the_loop_for_20_ms_under_32_memos_at_once(speech):
    """The best of three: what blocks the loop does so each time, what the machine does to us does not."""
    voice = await profile(speech)
    background = pb.Background(sound="rain", volume_percent=30, ducking=True)
    longest = []
    for _ in range(3):
        with LoopWatch.watching() as watch:
            memos = await asyncio.gather(
                *(
                    spoken(speech, profile=voice, format=name, background=background, text="y" * 90)
                    for name in islice(cycle(Format), MEMOS)
                )
            )
        assert all(summary.duration_seconds > 5 for _, summary, _ in memos)
        assert watch.looks > 20
        longest.append(watch.longest_seconds)
    assert min(longest) < 0.020


@pytest.mark.parametrize("seats", [2], indirect=True)
async def test_a_refusal_waits_for_nobody(speech, mixing):
    """All seats are taken and nothing is mixed, yet the answer is there: at its quickest within 50 ms."""
    calls = [speech.Synthesize(request(engine="hangs")) for _ in range(2)]
    for call in calls:
        await call.read()
    for pid in mixing.pids:
        os.kill(pid, signal.SIGSTOP)
    waits = []
    for _ in range(10):
        asked = perf_counter()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await speech.Synthesize(request(engine="hangs")).read()
        waits.append(perf_counter() - asked)
        error, retry_after_seconds = api_error(failure.value)
        assert error is not None
        assert (error.error, error.http_status, retry_after_seconds) == ("SPEECH_ENGINE_BUSY", 503, 2)
    for pid in mixing.pids:
        os.kill(pid, signal.SIGCONT)
    assert min(waits) < 0.050
    for call in calls:
        call.cancel()


@pytest.mark.parametrize("seats", [1], indirect=True)
async def test_the_seat_is_free_when_the_engine_has_stopped_for_who_hung_up(speech, seats, engines):
    engine = engines["hangs"]
    for _ in range(5):
        call = speech.Synthesize(request(engine="hangs"))
        await call.read()
        assert seats.free == 0
        assert not engine.closed.is_set()
        call.cancel()
        await asyncio.wait_for(engine.closed.wait(), 5)
        # From the engine's end to the seat's there is nothing to wait for.
        assert seats.free == 1
        engine.closed.clear()


async def test_a_listener_who_does_not_listen_is_not_spoken_to(speech, engines):
    """The connection takes some 4 MB, then the engine waits, although others are spoken to meanwhile."""
    voice, talker = await profile(speech), engines["talker"]
    call = speech.Synthesize(request(engine="talker", format="wav"))
    await call.read()
    taken = 0
    while talker.taken > taken:
        taken = talker.taken
        await asyncio.gather(*(spoken(speech, profile=voice, text="y" * 100) for _ in range(4)))
    assert 0 < taken < 600
    call.cancel()
