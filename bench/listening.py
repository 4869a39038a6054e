"""Can the words be understood? An offline recogniser of English hears them and the misheard are counted."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import soxr

from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats

_RATE: Final = 16_000


class Listener:
    """The smallest model of `moonshine-voice`, which its wheel contains."""

    def __init__(self, transcriber: Any) -> None:
        self._transcriber = transcriber

    def heard(self, speech: Floats) -> str:
        audio = soxr.resample(speech, SAMPLE_RATE, _RATE)
        transcript = self._transcriber.transcribe_without_streaming(audio.tolist(), _RATE)
        return " ".join(line.text for line in transcript.lines)


@contextmanager
def listening() -> Iterator[Listener | None]:
    """None where the recogniser is not installed: it has no wheel for every system."""
    try:
        moonshine = import_module("moonshine_voice")
    except ModuleNotFoundError:
        yield None
        return
    model = str(moonshine.get_model_path("tiny-en"))
    with moonshine.Transcriber(model_path=model, model_arch=moonshine.ModelArch.TINY) as transcriber:
        yield Listener(transcriber)


def word_error_rate(said: str, heard: str) -> float:
    """Words to change, to add or to leave out, for each word that was said."""
    wanted, got = (re.findall(r"[a-z']+", text.lower()) for text in (said, heard))
    distances = list(range(len(got) + 1))
    for row, word in enumerate(wanted, start=1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(got, start=1):
            best = min(distances[column] + 1, distances[column - 1] + 1, diagonal + (word != other))
            diagonal, distances[column] = distances[column], best
    return distances[-1] / len(wanted)
