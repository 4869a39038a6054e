"""Mono samples in, whole frames out: one small interface for every format that listeners ask for.

| format | container | rates | first sample | end | where it says that a machine spoke |
|---|---|---|---|---|---|
| mp3 | none | all | after 1105 samples of silence | whole frames | ID3v2.3 before the first frame |
| opus | Ogg, a page a packet | 8, 16, 24, 48 kHz | exact (pre-skip) | exact | OpusTags |
| aac | ADTS | all | after 1024 samples of silence | whole frames | ID3v2.3 before the first frame |
| flac | FLAC | all | exact | exact | Vorbis comments |
| wav | RIFF of unknown length | all | exact | exact | LIST/INFO before the samples |
| pcm | none | all | exact | exact | nowhere: there is no place |

ADTS itself has no place for words either; the tag in front is what HLS does, and decoders skip it.
"""

from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from services.synthesis.domain import Format, Labels, Medium
from services.synthesis.formats import mp3, muxed, plain


class Encoder(Protocol):
    """Nothing depends on how the samples were cut; memory does not grow with them."""

    content_type: str
    # Silence of its own that players play before the first sample.
    delay_samples: int

    @property
    def opening(self) -> bytes:
        """Tag and header: what comes before the first frame."""

    @property
    def seconds(self) -> float:
        """How long the audio is so far, as any player will say once it is finished."""

    def encode(self, samples: NDArray[np.float32]) -> list[bytes]:
        """The frames (pages, blocks) that are whole now."""

    def finish(self) -> list[bytes]:
        """The rest. Nothing can be encoded afterwards."""


def encoder(medium: Medium, labels: Labels) -> Encoder:
    return _ENCODERS[medium.format](medium.sample_rate, labels)


_ENCODERS: Final[dict[Format, Callable[[int, Labels], Encoder]]] = {
    Format.MP3: mp3.TaggedMp3,
    Format.OPUS: muxed.opus,
    Format.AAC: muxed.aac,
    Format.FLAC: muxed.flac,
    Format.WAV: plain.wav,
    Format.PCM: plain.pcm,
}
