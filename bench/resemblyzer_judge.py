"""A second opinion on who is speaking: resemblyzer's network, which had no part in making the engine.

`pip install --no-deps resemblyzer` brings its weights; what computes with them here is numpy, so torch is
not needed. Embeddings are comparable only among themselves.
"""

import importlib.util
import pickle
from collections import OrderedDict
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from services.synthesis.engines.local.seams import speech_level_dbfs
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats

_RATE: Final = 16_000
_FFT: Final = 400
_HOP: Final = 160
_MELS: Final = 40
_STRETCH: Final = 160
_STRETCH_STEP: Final = 48
_LAYERS: Final = 3
_LEVEL_DBFS: Final = -30.0
_FADING: Final = 3


class WeightsUnreadable(Exception):
    """The installed file is not the one that this reader was written for."""


def installed_weights() -> Path | None:
    found = importlib.util.find_spec("resemblyzer")
    folder = Path(found.origin).parent if found and found.origin else None
    return folder / "pretrained.pt" if folder else None


class ResemblyzerJudge:
    """Three recurrent layers over stretches of 1.6 s, averaged."""

    def __init__(self, weights: Path) -> None:
        self._weights = _tensors(weights)

    def embed(self, signal: Floats) -> Floats:
        """Who is speaking in 24 kHz audio."""
        sound = np.asarray(soxr.resample(signal, SAMPLE_RATE, _RATE), dtype=np.float32)
        mels = _mels(_speech_only(sound * 10 ** ((_LEVEL_DBFS - speech_level_dbfs(sound)) / 20)))
        if len(mels) < _STRETCH:
            mels = np.vstack([mels, np.zeros((_STRETCH - len(mels), _MELS), np.float32)])
        starts = range(0, len(mels) - _STRETCH + 1, _STRETCH_STEP)
        rows = np.stack([mels[start : start + _STRETCH] for start in starts])
        for layer in range(_LAYERS):
            rows = self._layer(rows, layer)
        linear = rows[:, -1] @ self._weights["linear.weight"].T + self._weights["linear.bias"]
        return _unit(_unit(np.maximum(linear, 0)).mean(axis=0))

    def _layer(self, rows: Floats, layer: int) -> Floats:
        """A long short-term memory; its gates are input, forget, candidate, output."""
        recurrent = self._weights[f"lstm.weight_hh_l{layer}"].T
        bias = self._weights[f"lstm.bias_ih_l{layer}"] + self._weights[f"lstm.bias_hh_l{layer}"]
        incoming = rows @ self._weights[f"lstm.weight_ih_l{layer}"].T + bias
        hidden = memory = np.zeros((len(rows), len(recurrent)), np.float32)
        spoken = np.empty((*rows.shape[:2], len(recurrent)), np.float32)
        for step in range(rows.shape[1]):
            gates = np.split(incoming[:, step] + hidden @ recurrent, 4, axis=1)
            enter, forget, leave = (_sigmoid(gates[index]) for index in (0, 1, 3))
            memory = forget * memory + enter * np.tanh(gates[2])
            hidden = leave * np.tanh(memory)
            spoken[:, step] = hidden
        return spoken


def _speech_only(sound: Floats) -> Floats:
    """Without pauses, as it was trained."""
    window = _RATE * 30 // 1000
    rows = sound[: len(sound) // window * window].reshape(-1, window)
    power = np.square(rows).mean(axis=1)
    kept = np.convolve(power > power.max() * 1e-4, np.ones(2 * _FADING + 1), "same") > 0
    return rows[kept].ravel()


def _mels(sound: Floats) -> Floats:
    padded = np.pad(sound, _FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FFT + 1)[:-1], axis=1)))
    return np.asarray(power @ _filters().T, dtype=np.float32)


def _filters() -> Floats:
    """Slaney's mel scale, triangles of equal area."""
    step = np.log(6.4) / 27
    mels = np.linspace(0, 15 + np.log(_RATE / 2 / 1000) / step, _MELS + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))
    bins = np.arange(_FFT // 2 + 1) * _RATE / _FFT
    rising = (bins - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - bins) / np.diff(corners)[1:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(triangles * (2 / (corners[2:] - corners[:-2]))[:, None], dtype=np.float32)


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2), dtype=np.float32)


def _unit(vectors: NDArray[Any]) -> Floats:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12), dtype=np.float32)


class _Description(pickle.Unpickler):
    """Reads the description of tensors and lets nothing else be built."""

    def __init__(self, file: BufferedReader) -> None:
        super().__init__(file)
        self.kinds: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): "<f4",
            ("torch", "LongStorage"): "<i8",
            ("torch", "DoubleStorage"): "<f8",
            ("torch._utils", "_rebuild_tensor_v2"): _described,
        }
        if (module, name) not in allowed:
            raise WeightsUnreadable(f"unexpected content: {module}.{name}")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> str:
        _, kind, key, *_ = pid
        self.kinds[key] = kind
        return str(key)


def _described(
    storage: str, offset: int, shape: tuple[int, ...], *_: object
) -> tuple[str, int, tuple[int, ...]]:
    return storage, offset, shape


def _tensors(path: Path) -> dict[str, Floats]:
    """torch's format before 1.6: five pickles, then each storage as a count and its numbers."""
    with path.open("rb") as file:
        for _ in range(3):
            _Description(file).load()
        description = _Description(file)
        tensors = description.load()["model_state"]
        storages = {key: _numbers(file, description.kinds[key]) for key in _Description(file).load()}
    return {
        name: np.asarray(storages[key][offset : offset + int(np.prod(shape))].reshape(shape), np.float32)
        for name, (key, offset, shape) in tensors.items()
    }


def _numbers(file: BufferedReader, kind: str) -> NDArray[Any]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * np.dtype(kind).itemsize), kind)
