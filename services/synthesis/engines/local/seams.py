"""Make clauses fit together: silence trimmed, edges faded, one level throughout, a pause after each."""

from typing import Final

import numpy as np

from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats

# Level of the active speech, leaving 20 dB for its peaks.
SPEECH_LEVEL_DBFS: Final = -20.0
_PEAK: Final = 0.97
_KNEE: Final = 0.8
_WINDOW: Final = SAMPLE_RATE // 100
_AUDIBLE_DB_UNDER_PEAK: Final = 42.0
# Consonants start and end softer than what counts as audible.
_MARGIN_SECONDS: Final = 0.035
_FADE_SECONDS: Final = 0.006


def fitted(speech: Floats, pause_seconds: float) -> bytes:
    """16-bit PCM that can stand between any two others."""
    if not len(speech) or not np.any(speech):
        return b""
    faded = _faded(_trimmed(_levelled(speech)))
    pause = np.zeros(round(pause_seconds * SAMPLE_RATE), dtype=np.float32)
    return (np.concatenate([faded, pause]) * 32767).round().astype("<i2").tobytes()


def speech_level_dbfs(speech: Floats) -> float:
    """Level of the windows that hold speech: pauses do not count."""
    power = _window_power(speech)
    active = power[power > power.max() * 10 ** (-30 / 10)]
    return float(10 * np.log10(active.mean() + 1e-12))


def _levelled(speech: Floats) -> Floats:
    loud = speech * 10 ** ((SPEECH_LEVEL_DBFS - speech_level_dbfs(speech)) / 20)
    over = np.abs(loud) > _KNEE
    # A soft knee keeps the level of a clause whose one peak would otherwise turn all of it down.
    room = _PEAK - _KNEE
    limited = np.sign(loud) * (_KNEE + room * np.tanh((np.abs(loud) - _KNEE) / room))
    return np.where(over, limited, loud).astype(np.float32)


def _trimmed(speech: Floats) -> Floats:
    power = _window_power(speech)
    audible = np.flatnonzero(power > power.max() * 10 ** (-_AUDIBLE_DB_UNDER_PEAK / 10))
    margin = round(_MARGIN_SECONDS * SAMPLE_RATE)
    first, last = int(audible[0]) * _WINDOW - margin, (int(audible[-1]) + 1) * _WINDOW + margin
    return speech[max(0, first) : last]


def _faded(speech: Floats) -> Floats:
    samples = min(round(_FADE_SECONDS * SAMPLE_RATE), len(speech) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, samples, endpoint=False)) ** 2
    envelope = np.ones(len(speech), dtype=np.float32)
    envelope[:samples] = ramp
    envelope[len(speech) - samples :] = ramp[::-1]
    return speech * envelope


def _window_power(speech: Floats) -> Floats:
    whole = np.pad(speech, (0, -len(speech) % _WINDOW)).reshape(-1, _WINDOW)
    return np.asarray(np.square(whole).mean(axis=1), dtype=np.float32)
