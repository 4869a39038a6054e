"""How much processor time does one second of audio cost between the engine and the listener?

Level, resample, mix and encode, one step as large as in the service, without and with the fan; then
how long the first frames take, and the same memo on as many threads as there are cores.

    python -m bench.mix [--seconds 30] [--rounds 20]
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from os import cpu_count
from time import perf_counter, thread_time

import numpy as np

from bench.report import line, percentiles
from services.synthesis.ambience import fan_loop
from services.synthesis.domain import Labels
from services.synthesis.memo import Memo

RATE = 24_000
FIRST_STEP_BYTES = RATE * 2 // 10
STEP_BYTES = RATE * 2


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


class Take:
    """One memo, its processor time a second of audio, and when its first frames were there."""

    def __init__(self, parts: list[bytes], loop: np.ndarray, percent: int) -> None:
        began, worked = perf_counter(), thread_time()
        memo = Memo(RATE, Labels("Bench", "bench"), loop, percent)
        memo.add(parts[0])
        self.first_audio = perf_counter() - began
        for part in parts[1:]:
            memo.add(part)
        summary = memo.finish().summary
        assert summary is not None
        self.audio_seconds = summary.duration_seconds
        self.cost = (thread_time() - worked) / self.audio_seconds


def alone(parts: list[bytes], loop: np.ndarray, percent: int, rounds: int) -> None:
    takes = [Take(parts, loop, percent) for _ in range(rounds)]
    said = {"bench": "mix", "fan_percent": percent, "audio_seconds": round(takes[0].audio_seconds, 2)}
    line(**said, figure="processor_time_per_second_of_audio", **percentiles([take.cost for take in takes]))
    line(**said, figure="first_frames", **percentiles([take.first_audio for take in takes]))


def together(parts: list[bytes], loop: np.ndarray, rounds: int) -> None:
    """Whether threads help: they do if the libraries let go of the interpreter's lock."""
    threads = cpu_count() or 1
    began = perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        takes = list(pool.map(lambda _: Take(parts, loop, 30), range(rounds)))
    seconds = perf_counter() - began
    made = sum(take.audio_seconds for take in takes)
    line(bench="mix", figure="audio_seconds_per_second", threads=threads, value=round(made / seconds, 1))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("--seconds", type=int, default=30)
    asked.add_argument("--rounds", type=int, default=20)
    options = asked.parse_args()
    parts, loop = steps(babble(options.seconds)), fan_loop()
    Take(parts, loop, 30)
    for percent in (0, 30):
        alone(parts, loop, percent, options.rounds)
    together(parts, loop, options.rounds)


if __name__ == "__main__":
    main()
