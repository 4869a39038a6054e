"""The processes that memos are put together in: what becomes of memos when one dies, hangs or fails."""

import asyncio
import os
import signal
import threading
from contextlib import suppress

import numpy as np
import pytest
import structlog
from prometheus_client import REGISTRY

from services.synthesis.ambience import Ambience
from services.synthesis.domain import EnrolledVoice, MemoLost, Order, SpeechFailed, Utterance
from tests.integration.synthesis_stage import SECOND, mixing_for

RATE = 24_000
ORDER = Order("prompter", Utterance("It was the best of times.", "en"), EnrolledVoice("ada"))


@pytest.fixture(scope="module")
def ambience():
    return Ambience.made()


@pytest.fixture
async def mixing(ambience):
    async with mixing_for(ambience, processes=2) as mixing:
        yield mixing


def gone(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - nothing tells of another process' end
            await asyncio.sleep(0.01)


async def made(mixing):
    with mixing.memo(ORDER, RATE) as memo:
        audio = await memo.add(SECOND, 0)
        last = await memo.finish(SECOND, 0)
    return audio + last.audio, last.summary


async def test_memos_made_side_by_side_are_those_made_one_by_one(mixing):
    alone = await made(mixing)
    assert alone[1].duration_seconds == pytest.approx(2.45, abs=0.05)
    assert await asyncio.gather(*(made(mixing) for _ in range(8))) == [alone] * 8


async def test_memos_are_spread_over_the_processes(mixing):
    with mixing.memo(ORDER, RATE) as one, mixing.memo(ORDER, RATE) as other:
        await one.add(SECOND, 0)
        os.kill(mixing.pids[0], signal.SIGKILL)
        os.kill(mixing.pids[1], signal.SIGSTOP)
        with pytest.raises(MemoLost):
            await one.add(SECOND, 0)
        os.kill(mixing.pids[1], signal.SIGCONT)
        assert await other.add(SECOND, 0)


async def test_a_process_that_dies_fails_its_memos_alone_and_is_started_again(mixing):
    first, second = mixing.pids
    with mixing.memo(ORDER, RATE) as lost, mixing.memo(ORDER, RATE) as other:
        assert await lost.add(SECOND, 0)
        assert await other.add(SECOND, 0)
        with structlog.testing.capture_logs() as logs:
            os.kill(first, signal.SIGKILL)
            with pytest.raises(MemoLost, match="lost"):
                await lost.add(SECOND, 0)
            with pytest.raises(MemoLost, match="lost"):
                await lost.finish(b"", 0)
            assert (await other.finish(SECOND, 0)).audio
            await until(lambda: [line["event"] for line in logs] == ["mixing_process_died"])
    assert (logs[0]["pid"], logs[0]["memos_lost"]) == (first, 1)
    assert (logs[0]["status"], logs[0]["cause"]) == (-signal.SIGKILL, "IncompleteReadError")
    await until(lambda: mixing.pids[0] not in {first, 0})
    assert mixing.pids[1] == second
    assert len({(await made(mixing))[0] for _ in range(4)}) == 1


async def test_a_memo_of_which_nothing_was_heard_is_taken_over_by_the_other_process(mixing):
    alone = await made(mixing)
    with mixing.memo(ORDER, RATE) as memo:
        os.kill(mixing.pids[0], signal.SIGSTOP)
        first = asyncio.create_task(memo.add(SECOND, 0))
        await asyncio.sleep(0)
        os.kill(mixing.pids[0], signal.SIGKILL)
        async with asyncio.timeout(20):
            audio = await first
        last = await memo.finish(SECOND, 0)
    assert (audio + last.audio, last.summary) == alone


async def test_a_process_that_hangs_is_killed_and_its_memos_fail(ambience):
    async with mixing_for(ambience, look_seconds=0.2) as mixing:
        (pid,) = mixing.pids
        with mixing.memo(ORDER, RATE) as memo:
            assert await memo.add(SECOND, 0)
            os.kill(pid, signal.SIGSTOP)
            async with asyncio.timeout(20):
                with pytest.raises(MemoLost):
                    await memo.add(SECOND, 0)
        await until(lambda: mixing.pids != [pid])
        async with asyncio.timeout(20):
            while True:
                with suppress(MemoLost):
                    assert (await made(mixing))[1].duration_seconds > 2
                    break
                await asyncio.sleep(0.05)


class StartsUnlessItIsForbidden:
    """A watermark that can be taken from a service that has started."""

    def __init__(self):
        if "SYNTHESIS_WATERMARK_FORBIDDEN" in os.environ:
            raise RuntimeError("forbidden")

    def begin(self, sample_rate):
        return None


def died():
    return REGISTRY.get_sample_value("synthesis_mixing_processes_died_total")


async def test_a_process_that_cannot_be_started_again_is_counted_with_those_that_died(ambience, monkeypatch):
    async with mixing_for(ambience, watermark=f"{__name__}:StartsUnlessItIsForbidden") as mixing:
        before = died()
        monkeypatch.setenv("SYNTHESIS_WATERMARK_FORBIDDEN", "yes")
        with structlog.testing.capture_logs() as logs:
            os.kill(mixing.pids[0], signal.SIGKILL)
            await until(lambda: "mixing_process_not_started" in [line["event"] for line in logs])
        assert died() >= before + 2


class HangsAfterTheFirstSound:
    """A watermark that never ends with what comes second."""

    name = "hangs"

    def begin(self, sample_rate):
        return HangsAfterTheFirstSound()

    def __init__(self):
        self.heard = 0

    def add(self, samples):
        self.heard += len(samples) > 0
        # The opening and the first sound come in one step.
        if self.heard > 2:
            threading.Event().wait()
        return samples

    def finish(self):
        return np.zeros(0, np.float32)


async def test_a_thread_that_hangs_is_noticed_though_the_other_goes_on_answering(ambience):
    watermark = f"{__name__}:HangsAfterTheFirstSound"
    async with mixing_for(ambience, look_seconds=0.1, watermark=watermark) as mixing:
        (pid,) = mixing.pids
        with mixing.memo(ORDER, RATE) as stuck:
            assert await stuck.add(SECOND, 0)
            waiting = asyncio.create_task(stuck.add(SECOND, 0))
            async with asyncio.timeout(20):
                while not waiting.done():
                    with mixing.memo(ORDER, RATE) as other, suppress(MemoLost):
                        await other.add(SECOND, 0)
            with pytest.raises(MemoLost):
                await waiting
        await until(lambda: mixing.pids != [pid])


async def test_what_is_wrong_with_the_sound_is_told_and_the_process_goes_on(mixing):
    with mixing.memo(ORDER, RATE) as memo, pytest.raises(SpeechFailed, match="middle of a sample"):
        await memo.finish(SECOND[:-1], 0)
    with mixing.memo(ORDER, RATE) as memo, pytest.raises(SpeechFailed, match="nothing that could be heard"):
        await memo.finish(bytes(len(SECOND)), 0)
    before = list(mixing.pids)
    assert (await made(mixing))[1].duration_seconds > 2
    assert mixing.pids == before


async def test_a_mistake_of_ours_is_told_with_where_it_happened(mixing):
    with mixing.memo(ORDER, -1) as memo, pytest.raises(RuntimeError, match="Traceback"):
        await memo.add(SECOND, 0)
    assert (await made(mixing))[1].duration_seconds > 2


async def test_the_processes_end_with_the_service_however_they_are_asked_to(ambience):
    async with mixing_for(ambience, processes=2) as mixing:
        pids = list(mixing.pids)
        for pid in pids:
            # Whole process groups are stopped like this, and the service has memos to end by then.
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        assert (await made(mixing))[1].duration_seconds > 2
        assert mixing.pids == pids
    assert all(map(gone, pids))
