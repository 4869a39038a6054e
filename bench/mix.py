"""What a memo costs between the engine and the listener: ours, ffmpeg's filter graph and pydub, side by side.

The job is the same for each: 24 kHz speech in the service's steps, resampled to 44.1 kHz, a fan that loops
under it at 30 percent with a fade at both ends; then MP3 at 128 kb/s, by one LAME for all. What the
others cannot do:

    ffmpeg  has to be told the length before the first frame, or it cannot fade out
    pydub   begins when the last word was said, and holds the whole memo several times over

Each runs in a process of its own, so that memory is its own: `memory_mb` is what the process needed more
at its peak than before the first memo. Then what each format and ducking cost, and what threads bring.

    python -m bench.mix [--seconds 30] [--rounds 20]
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from itertools import pairwise, product
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from time import perf_counter, process_time, thread_time
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from bench.report import line, percentiles
from services.synthesis.ambience import Ambience
from services.synthesis.domain import Background, Format, Labels, Medium, Sound
from services.synthesis.formats.mp3 import Mp3
from services.synthesis.memo import Memo
from services.synthesis.mix import RATE as MIX_RATE
from services.synthesis.mix import Backdrop, Mixer, lead_in

RATE = 24_000
FIRST_STEP_BYTES = RATE * 2 // 10
STEP_BYTES = RATE * 2
PERCENT = 30
Samples = NDArray[np.float32]


def babble(seconds: int) -> bytes:
    """Something with the bandwidth, the syllables and the pauses of speech."""
    dice = np.random.default_rng(1)
    times = np.arange(seconds * RATE) / RATE
    buzz = np.sign(np.sin(2 * np.pi * 120 * times)) + 0.2 * dice.standard_normal(len(times))
    syllables = np.clip(np.sin(2 * np.pi * 4 * times) + 0.4, 0, 1) * (np.sin(2 * np.pi * 0.4 * times) > -0.8)
    return (3000 * buzz * syllables).astype("<i2").tobytes()


def steps(pcm: bytes) -> list[bytes]:
    cuts = [0, *range(FIRST_STEP_BYTES, len(pcm), STEP_BYTES), len(pcm)]
    return [pcm[start:end] for start, end in pairwise(cuts)]


def sixteen_bit(samples: Samples) -> NDArray[np.int16]:
    return np.round(samples * 32767).astype("<i2")


def ours(parts: list[bytes], fan: Backdrop) -> Iterator[Samples]:
    resampler = soxr.ResampleStream(RATE, MIX_RATE, 1, dtype="float32", quality="HQ")
    mixer = Mixer(fan)
    yield mixer.under(np.zeros(lead_in(MIX_RATE), np.float32))
    for at, part in enumerate(parts, 1):
        voice = np.frombuffer(part, "<i2").astype(np.float32) / np.float32(32768)
        yield mixer.under(resampler.resample_chunk(voice, last=at == len(parts)))
    yield mixer.ending()


def ffmpeg(parts: list[bytes], fan: Backdrop) -> Iterator[Samples]:
    """Loop, volume, fades, resampling and mix by libavfilter, in one graph, as its own tool would."""
    seconds = sum(map(len, parts)) / 2 / RATE
    graph = av.filter.Graph()
    voice, background = _source(graph, RATE), _source(graph, MIX_RATE)
    said = _chain(
        graph, voice, ("aresample", str(MIX_RATE)), ("adelay", "delays=150:all=1"), ("apad", "pad_dur=0.3")
    )
    under = _chain(
        graph,
        background,
        ("aloop", f"loop=-1:size={len(fan.loop)}"),
        ("volume", str(fan.volume_percent / 100)),
        ("afade", "t=in:d=0.15"),
        ("afade", f"t=out:st={seconds + 0.15}:d=0.3"),
    )
    mix = graph.add("amix", "inputs=2:duration=first:normalize=0")
    said.link_to(mix, 0, 0)
    under.link_to(mix, 0, 1)
    shape = f"sample_fmts=fltp:channel_layouts=mono:sample_rates={MIX_RATE}"
    sink = _chain(graph, mix, ("aformat", shape), ("abuffersink", None))
    graph.configure()
    background.push(_frame(sixteen_bit(fan.loop), MIX_RATE, 0))
    background.push(None)
    at = 0
    for part in parts:
        voice.push(_frame(np.frombuffer(part, "<i2"), RATE, at))
        at += len(part) // 2
        yield from _pulled(sink)
    voice.push(None)
    yield from _pulled(sink)


def _source(graph: Any, rate: int) -> Any:
    return graph.add_abuffer(format="s16", sample_rate=rate, layout="mono", time_base=Fraction(1, rate))


def _chain(graph: Any, end: Any, *filters: tuple[str, str | None]) -> Any:
    for name, settings in filters:
        following = graph.add(name, settings)
        end.link_to(following)
        end = following
    return end


def _frame(samples: NDArray[np.int16], rate: int, at: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
    return frame


def _pulled(sink: Any) -> Iterator[Samples]:
    while True:
        try:
            yield sink.pull().to_ndarray()[0]
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def pydub(parts: list[bytes], fan: Backdrop) -> Iterator[Samples]:
    """Overlay on the whole memo. Its own export would start an ffmpeg program."""
    segment = import_module("pydub").AudioSegment
    spoken = b"".join(parts)
    voice = segment(spoken, sample_width=2, frame_rate=RATE, channels=1).set_frame_rate(MIX_RATE)
    loop = segment(sixteen_bit(fan.loop).tobytes(), sample_width=2, frame_rate=MIX_RATE, channels=1)
    length = len(voice) + 450
    turns = loop * (length // len(loop) + 1)
    quieter = 20 * float(np.log10(fan.volume_percent / 100))
    under = turns[:length].apply_gain(quieter).fade_in(150).fade_out(300)
    mixed = np.frombuffer(under.overlay(voice, position=150).raw_data, "<i2")
    yield mixed.astype(np.float32) / np.float32(32768)


CONTENDERS: dict[str, Callable[[list[bytes], Backdrop], Iterator[Samples]]] = {
    "ours": ours,
    "ffmpeg": ffmpeg,
    "pydub": pydub,
}


@dataclass(slots=True)
class Costs:
    """Processor time by job, and when the first frames were there."""

    mixing: list[float] = field(default_factory=list)
    encoding: list[float] = field(default_factory=list)
    first_frames: list[float] = field(default_factory=list)
    audio_seconds: float = 0.0

    def take(self, mixed: Iterator[Samples]) -> None:
        encoder, began, first = Mp3(), perf_counter(), 0.0
        mixing = encoding = 0.0
        while True:
            started = process_time()
            samples = next(mixed, None)
            between = process_time()
            frames = encoder.finish() if samples is None else encoder.encode(samples)
            mixing, encoding = mixing + between - started, encoding + process_time() - between
            if frames and not first:
                first = perf_counter() - began
            if samples is None:
                break
        self.audio_seconds = encoder.seconds
        self.mixing.append(mixing / encoder.seconds)
        self.encoding.append(encoding / encoder.seconds)
        self.first_frames.append(first)


def compete(name: str, seconds: int, rounds: int) -> dict[str, Any]:
    """Runs in a process of its own."""
    parts, fan = steps(babble(seconds)), Ambience().backdrop(Background(Sound.FAN, PERCENT))
    try:
        Costs().take(CONTENDERS[name](steps(babble(1)), fan))
    except ModuleNotFoundError as missing:
        return {"contender": name, "skipped": str(missing)}
    before, costs = _peak_mb(forget=True), Costs()
    for _ in range(rounds):
        costs.take(CONTENDERS[name](parts, fan))
    return {
        "contender": name,
        "audio_seconds": round(costs.audio_seconds, 2),
        "mixing_per_second_of_audio": percentiles(costs.mixing),
        "encoding_per_second_of_audio": percentiles(costs.encoding),
        "first_frames": percentiles(costs.first_frames),
        "first_frames_after_speech_of": "all of it" if name == "pydub" else "0.1 s",
        "memory_mb": round(_peak_mb() - before, 1),
    }


def _peak_mb(*, forget: bool = False) -> float:
    """The most memory that this process has had; `forget` begins anew. Only Linux says so."""
    process = Path("/proc/self")
    if forget:
        (process / "clear_refs").write_text("5")
    rows = (process / "status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith("VmHWM"))


@dataclass(frozen=True, slots=True)
class Take:
    """One memo as the service makes it: level, resample, mix, encode, waveform."""

    audio_seconds: float
    kilobytes: float
    cost: float
    first_frames: float

    @classmethod
    def of(cls, parts: list[bytes], backdrop: Backdrop, medium: Medium) -> "Take":
        began, worked = perf_counter(), thread_time()
        memo = Memo(RATE, Labels("Bench", "bench"), backdrop, medium)
        size = len(memo.add(parts[0]))
        first = perf_counter() - began
        size += sum(len(memo.add(part)) for part in parts[1:])
        last = memo.finish()
        assert last.summary is not None
        seconds = last.summary.duration_seconds
        return cls(seconds, (size + len(last.audio)) / 1000, (thread_time() - worked) / seconds, first)


def each_format(parts: list[bytes], rounds: int) -> None:
    ambience = Ambience()
    for medium, ducking in product(map(usual, Format), (False, True)):
        backdrop = ambience.backdrop(Background(Sound.FAN, PERCENT, ducking), medium.sample_rate)
        takes = [Take.of(parts, backdrop, medium) for _ in range(rounds)]
        line(
            bench="mix",
            format=medium.format,
            sample_rate=medium.sample_rate,
            ducking=ducking,
            processor_time_per_second_of_audio=percentiles([take.cost for take in takes]),
            first_frames=percentiles([take.first_frames for take in takes]),
            kilobytes_per_second=round(takes[0].kilobytes / takes[0].audio_seconds, 1),
        )


def usual(name: Format) -> Medium:
    return Medium.wanted(name, 0)


def together(parts: list[bytes], rounds: int) -> None:
    """Whether threads help: they do if the libraries let go of the interpreter's lock."""
    threads, fan = cpu_count() or 1, Ambience().backdrop(Background(Sound.FAN, PERCENT))
    began = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        takes = list(pool.map(lambda _: Take.of(parts, fan, Medium()), range(rounds)))
    made = sum(take.audio_seconds for take in takes)
    value = round(made / (perf_counter() - began), 1)
    line(bench="mix", figure="audio_seconds_per_second", threads=threads, value=value)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--seconds", type=int, default=30)
    asked.add_argument("--rounds", type=int, default=20)
    options = asked.parse_args()
    for seconds in (options.seconds, 10 * options.seconds):
        rounds = options.rounds if seconds == options.seconds else max(1, options.rounds // 10)
        for name in CONTENDERS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                line(bench="mix", **process.submit(compete, name, seconds, rounds).result())
    parts = steps(babble(options.seconds))
    each_format(parts, options.rounds)
    together(parts, options.rounds)


if __name__ == "__main__":
    main()
