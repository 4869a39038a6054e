"""Hears speech: how likely somebody speaks in each chunk of a signal.

The network is Silero's, in the form that takes a whole recording in one call: a minute in about 70 ms
of one core, where a call for each chunk takes twice that.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from services.voice.sample.decoding import Signal

RATE: Final = 16_000
CHUNK: Final = 512
# Each chunk is heard with the end of the one before.
_CONTEXT: Final = 64
_MEMORY: Final = (1, 1, 128)


def speech_probability(chunks: Signal) -> npt.NDArray[np.float32]:
    """For rows of CHUNK samples at RATE, in the order in which they were spoken."""
    before = np.zeros((len(chunks), _CONTEXT), np.float32)
    before[1:] = chunks[:-1, -_CONTEXT:]
    empty = np.zeros(_MEMORY, np.float32)
    heard = {"input": np.hstack([before, chunks]), "h": empty, "c": empty}
    probability: npt.NDArray[np.float32] = _network().run(["speech_probs"], heard)[0]
    return probability


@cache
def _network() -> Any:
    options = onnxruntime.SessionOptions()
    # One worker, one core: the pool decides how much is done at once.
    options.intra_op_num_threads = 1
    # An idle worker gives back what a recording needed.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(_graph_path()), options, providers=["CPUExecutionProvider"])


def _graph_path() -> Path:
    """Found without importing the package, whose own front end would ask for torch."""
    found = importlib.util.find_spec("silero_vad")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package silero-vad is not installed")
    return Path(found.origin).parent / "data" / "silero_vad_16k_sequence.onnx"
