"""What is the local engine's own: its worker, its queue, and what it refuses."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import av
import pytest

from services.synthesis.domain import (
    EngineOverloaded,
    EngineUnavailable,
    EnrolledVoice,
    LanguageNotSpoken,
    Utterance,
    VoiceNotEnrolled,
)
from services.synthesis.engines.local import LocalEngine

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RATE = 24_000
NOTE = "Good morning. I woke up with the Queen of Hearts in my head, and I can't say why."


@pytest.fixture(scope="module")
async def local() -> AsyncIterator[LocalEngine]:
    engine = LocalEngine()
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(scope="module")
async def voice(local: LocalEngine) -> EnrolledVoice:
    """The public-domain reading."""
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(ROOT / "demo" / "two-cities.mp3")) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    sample = b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)
    return EnrolledVoice("v1", await local.enrol(sample, RATE))


async def take(engine: LocalEngine, utterance: Utterance, voice: EnrolledVoice) -> bytes:
    async with aclosing(engine.speak(utterance, voice)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_nothing_but_pictures_cannot_be_said(local: LocalEngine, voice: EnrolledVoice) -> None:
    with pytest.raises(LanguageNotSpoken):
        await take(local, Utterance("🎉🎉", "en"), voice)


async def test_what_cannot_be_read_is_refused_before_a_sound(
    local: LocalEngine, voice: EnrolledVoice
) -> None:
    async with aclosing(local.speak(Utterance(f"{NOTE} It was 三国.", "en"), voice)) as chunks:
        with pytest.raises(LanguageNotSpoken):
            await anext(chunks)


async def test_a_text_that_goes_on_with_what_cannot_be_read_is_no_whole_memo(
    local: LocalEngine, voice: EnrolledVoice
) -> None:
    async def further() -> AsyncIterator[str]:
        yield " It was 三国."

    speech = local.speak_as_written(Utterance("Good morning.", "en"), further(), voice)
    async with aclosing(speech) as chunks:
        assert await anext(chunks)
        with pytest.raises(LanguageNotSpoken):
            async for _ in chunks:
                pass


@pytest.mark.parametrize(
    "pcm", [bytes(RATE * 2), b"\x00\x10" * 100, b""], ids=["silence", "a click", "nothing"]
)
async def test_a_sample_without_a_voice_enrols_nobody(local: LocalEngine, pcm: bytes) -> None:
    with pytest.raises(VoiceNotEnrolled):
        await local.enrol(pcm, RATE)


async def test_more_than_the_queue_holds_is_refused_at_once(voice: EnrolledVoice) -> None:
    engine = LocalEngine(queue_limit=2)
    await engine.start()
    speaking = [asyncio.create_task(take(engine, Utterance("Good morning.", "en"), voice)) for _ in range(5)]
    outcomes = await asyncio.gather(*speaking, return_exceptions=True)
    await engine.close()
    assert [isinstance(outcome, EngineOverloaded) for outcome in outcomes] == [False, False, True, True, True]
    assert all(outcome for outcome in outcomes[:2])


async def test_a_killed_worker_fails_its_callers_and_is_replaced(
    local: LocalEngine, voice: EnrolledVoice
) -> None:
    (worker,) = children_of(os.getpid(), "spawn_main")
    async with aclosing(local.speak(Utterance(" ".join([NOTE] * 9), "en"), voice)) as chunks:
        await anext(chunks)
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            async for _ in chunks:
                pass
    assert await take(local, Utterance("Hello again.", "en"), voice)
    assert children_of(os.getpid(), "spawn_main") != [worker]


async def test_the_worker_of_a_killed_parent_ends(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        str(script),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert parent.stdout
    async with asyncio.timeout(120):
        assert await parent.stdout.readline() == b"ready\n"
        (worker,) = children_of(parent.pid, "spawn_main")
        ended = os.pidfd_open(worker)
        parent.kill()
        await parent.wait()
        # Readable when the process has ended.
        await readable(ended)
    os.close(ended)


async def test_an_engine_that_is_not_running_says_so() -> None:
    engine = LocalEngine()
    with pytest.raises(EngineUnavailable):
        await take(engine, Utterance("Hello.", "en"), EnrolledVoice("v", b"anything"))
    with pytest.raises(EngineUnavailable):
        await engine.enrol(b"", RATE)


PARENT = """
import asyncio
from services.synthesis.engines.local import LocalEngine

async def main():
    await LocalEngine().start()
    print("ready", flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main())
"""


def children_of(parent: int, wanted: str) -> list[int]:
    """Process ids of children whose command line holds `wanted`."""
    tasks = Path(f"/proc/{parent}/task")
    listed = " ".join(file.read_text() for file in tasks.glob("*/children")).split()
    return [pid for pid in map(int, listed) if wanted in Path(f"/proc/{pid}/cmdline").read_text()]


async def readable(descriptor: int) -> None:
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ready.set)
    await ready.wait()
    loop.remove_reader(descriptor)
