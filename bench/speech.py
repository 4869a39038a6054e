"""How soon does the embedded engine speak, what does it cost, and how like the sample does it sound?

`python -m bench.speech [SAMPLE ...]`, by default demo/two-cities.mp3. One JSON line for each sample:
it is enrolled from its first half and judged by the speaker encoder against its second half. The
same encoder also chooses the nearest style, so it is a lenient judge of its own choice.
"""

import argparse
import asyncio
import os
import statistics
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import av
import numpy as np

from bench import report
from services.synthesis.domain import EnrolledVoice, Utterance
from services.synthesis.engines.local import LocalEngine
from services.synthesis.engines.local.reading import phonemes_of
from services.synthesis.engines.local.speaker import SpeakerEncoder, likeness
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats, analyse
from services.synthesis.engines.local.styles import KnownVoices, native_voice
from services.synthesis.engines.local.voice import Line, VoiceBox, pitch_habit

DEMO: Final = Path(__file__).parents[1] / "demo" / "two-cities.mp3"
# About a hundred characters each, as long as a voice memo is.
NOTES: Final = {
    "en": "Good morning, I woke up with the Queen of Hearts in my head, and I really can't say why that is.",
    "es": "Buenos días, me desperté pensando en la reina de corazones, y la verdad es que no sé por qué.",
}
TICKS: Final = os.sysconf("SC_CLK_TCK")


def decoded(path: Path) -> bytes:
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return b"".join(part.to_ndarray().astype("<i2").tobytes() for part in parts)


def floats(pcm: bytes) -> Floats:
    return np.asarray(np.frombuffer(pcm, "<i2") / 32768, dtype=np.float32)


def worker_of_this_process() -> Path:
    """Its folder in /proc: this bench runs on Linux."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    children = " ".join(task.read_text() for task in tasks).split()
    return next(
        Path(f"/proc/{child}")
        for child in children
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    )


def cpu_seconds(process: Path) -> float:
    fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(process: Path, which: str = "VmRSS") -> int:
    rows = (process / "status").read_text().splitlines()
    return next(int(row.split()[1]) // 1024 for row in rows if row.startswith(which))


async def spoken(engine: LocalEngine, profile: bytes, language: str) -> tuple[float, float, bytes]:
    """Seconds to the first audio, seconds to the last, and the audio."""
    asked = perf_counter()
    chunks: list[bytes] = []
    first = 0.0
    async with aclosing(
        engine.speak(Utterance(NOTES[language], language), EnrolledVoice("v", profile))
    ) as stream:
        async for chunk in stream:
            first = first or perf_counter() - asked
            chunks.append(chunk)
    return first, perf_counter() - asked, b"".join(chunks)


async def cost_of_speaking(
    engine: LocalEngine, profile: bytes, language: str, rounds: int
) -> tuple[dict[str, Any], Floats]:
    """What one note costs, and how it sounded."""
    process = worker_of_this_process()
    before = cpu_seconds(process)
    takes = [await spoken(engine, profile, language) for _ in range(rounds)]
    used = (cpu_seconds(process) - before) / rounds
    pcm = takes[0][2]
    audio = len(pcm) / 2 / SAMPLE_RATE
    return {
        "characters": len(NOTES[language]),
        "audio_seconds": round(audio, 2),
        "first_audio": report.percentiles([first for first, _, _ in takes]),
        "real_time_factor": round(statistics.median(total for _, total, _ in takes) / audio, 3),
        "cpu_seconds": round(used, 2),
    }, floats(pcm)


async def bench(sample: Path, rounds: int) -> None:
    pcm = decoded(sample)
    half = len(pcm) // 4 * 2
    encoder = SpeakerEncoder(threads=1)
    person, first_half = (encoder.embed(floats(part), SAMPLE_RATE) for part in (pcm[half:], pcm[:half]))
    engine = LocalEngine()
    started = perf_counter()
    await engine.start()
    ready = perf_counter()
    profile = await engine.enrol(pcm[:half], SAMPLE_RATE)
    enrolled = perf_counter()
    load = os.getloadavg()[0]
    languages: dict[str, dict[str, Any]] = {}
    for language in NOTES:
        cost, speech = await cost_of_speaking(engine, profile, language, rounds)
        alike = round(likeness(encoder.embed(speech, SAMPLE_RATE), person), 3)
        languages[language] = {**cost, "likeness": alike}
    process = worker_of_this_process()
    report.line(
        bench="speech",
        sample=sample.name,
        sample_seconds=round(len(pcm) / 2 / SAMPLE_RATE, 1),
        start_seconds=round(ready - started, 2),
        enrol_seconds=round(enrolled - ready, 2),
        profile_bytes=len(profile),
        resident_mb=resident_mb(process),
        peak_mb=resident_mb(process, "VmHWM"),
        load_average=round(load, 1),
        likeness_same_speaker=round(likeness(first_half, person), 3),
        likeness_stranger=round(float(np.median(KnownVoices().embeddings @ person)), 3),
        **languages,
    )
    await engine.close()


def compare(sample: Path) -> None:
    """What each step adds: the model's own voice, the nearest style with the pitch, the timbre."""
    pcm = decoded(sample)
    half = len(pcm) // 4 * 2
    box = VoiceBox(threads=2)
    profile, judge = box.enrol(pcm[:half], SAMPLE_RATE), floats(pcm[half:])
    person, pitch = box.embed(judge), pitch_habit(analyse(judge))
    for language, note in NOTES.items():
        own = box.speak_as_model(phonemes_of(note, language), native_voice(language, "m"))
        takes = {"own voice": own}
        for similarity in (0.0, 0.5, 0.75, 1.0):
            takes[f"similarity {similarity}"] = floats(
                box.speak(profile, Line(note, language, similarity=similarity))
            )
        for take, speech in takes.items():
            apart = abs(pitch_habit(analyse(speech)).mean - pitch.mean) * 12 / np.log(2)
            report.line(
                bench="speech_likeness",
                sample=sample.name,
                language=language,
                take=take,
                likeness=round(likeness(box.embed(speech), person), 3),
                semitones_apart=round(float(apart), 2),
            )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("samples", nargs="*", type=Path, default=[DEMO])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--compare", action="store_true", help="likeness of each step, without timing")
    asked = arguments.parse_args()
    for sample in asked.samples:
        if asked.compare:
            compare(sample)
            continue
        asyncio.run(bench(sample, asked.rounds))


if __name__ == "__main__":
    main()
