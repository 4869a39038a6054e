"""Where in a signal somebody speaks."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from services.voice.sample import detector
from services.voice.sample.decoding import RATE, Signal
from services.voice.sample.noise import clearance_db

CHUNK_SECONDS: Final = detector.CHUNK / detector.RATE
_SPEECH_PROBABILITY: Final = 0.5
# Speech has a dynamic range; what is this far below the loudest tenth is a pause.
_PAUSE_DB: Final = 40.0
# Shorter bursts are clicks and breaths.
_SHORTEST_CHUNKS: Final = 4
_MARGIN_SECONDS: Final = 0.25
_DETECTOR_PEAK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Speech:
    """`start` and `end` bound the stretch from the first to the last word, in seconds."""

    start: float
    end: float
    # Time in which somebody really speaks.
    spoken_seconds: float
    # How far it stands above the background.
    clearance_db: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def share(self) -> float:
        return self.spoken_seconds / self.seconds if self.seconds else 0.0


def find_speech(signal: Signal) -> Speech:
    chunks = _chunks(signal)
    spoken = _without_bursts(_spoken(chunks))
    places = np.flatnonzero(spoken)
    if not len(places):
        return Speech(0.0, 0.0, 0.0, 0.0)
    start = max(0.0, float(places[0]) * CHUNK_SECONDS - _MARGIN_SECONDS)
    end = min(len(signal) / RATE, float(places[-1] + 1) * CHUNK_SECONDS + _MARGIN_SECONDS)
    clearance = clearance_db(chunks, detector.RATE, spoken)
    return Speech(start, end, len(places) * CHUNK_SECONDS, clearance)


def _chunks(signal: Signal) -> Signal:
    """The signal in the detector's chunks, raised to a level at which it hears well."""
    heard = soxr.resample(signal, RATE, detector.RATE)
    peak = float(np.abs(heard).max(initial=0.0))
    whole = len(heard) // detector.CHUNK * detector.CHUNK
    scaled: Signal = heard[:whole].reshape(-1, detector.CHUNK) * np.float32(_DETECTOR_PEAK / max(peak, 1e-6))
    return scaled


def _spoken(chunks: Signal) -> npt.NDArray[np.bool_]:
    if not len(chunks):
        return np.zeros(0, bool)
    level = 10 * np.log10(np.mean(np.square(chunks), axis=1) + 1e-10)
    loud = level > np.quantile(level, 0.9) - _PAUSE_DB
    return np.asarray(loud & (detector.speech_probability(chunks) >= _SPEECH_PROBABILITY), dtype=np.bool_)


def _without_bursts(spoken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], spoken, [False])).astype(np.int8)))
    kept = spoken.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < _SHORTEST_CHUNKS:
            kept[start:end] = False
    return kept
