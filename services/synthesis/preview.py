"""What background settings do to a memo, heard on a few seconds of somebody reading.

A background alone would say nothing: listeners turn a lone sound up until they hear it well. How loud it
is can only be heard beside a voice.
"""

from functools import lru_cache
from importlib.resources import files
from typing import Final

import av

from services.synthesis.ambience import Ambience
from services.synthesis.domain import Background, Labels
from services.synthesis.memo import Memo

_READER: Final = files("services.synthesis") / "data" / "reader.flac"
# Of 75 kB. Sliders move in small steps, and back.
_KEPT: Final = 64


class Previews:
    """All that takes time is for a thread."""

    def __init__(self, ambience: Ambience) -> None:
        self._ambience = ambience
        # PCM of the reader, and its rate.
        self.reading = _reader()
        self.mp3 = lru_cache(maxsize=_KEPT)(self._mp3)

    def _mp3(self, background: Background) -> bytes:
        """The way of every memo, so the levels are a memo's."""
        backdrop = self._ambience.backdrop(background)
        pcm, rate = self.reading
        memo = Memo(rate, Labels("Preview", spoken_by_machine=False), backdrop)
        return memo.add(pcm) + memo.finish().audio


def _reader() -> tuple[bytes, int]:
    with _READER.open("rb") as file, av.open(file) as opened:
        frames = list(opened.decode(audio=0))
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames), frames[0].sample_rate
