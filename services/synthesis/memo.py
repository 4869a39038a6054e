"""One memo from PCM to its listener's format: level, resample, mix, encode; in order, in constant memory.

All of it is work for the processor, so it runs in processes of its own (`mixing`), never in the event loop.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from services.synthesis import formats
from services.synthesis.domain import Labels, Medium, Piece, Summary
from services.synthesis.level import Leveller
from services.synthesis.mix import Backdrop, Mixer, lead_in, limited
from services.synthesis.ports import Mark
from services.synthesis.waveform import Waveform

Samples = NDArray[np.float32]


class Memo:
    """Takes PCM as it is spoken; gives out whole frames, the tag and the lead-in with the first."""

    def __init__(
        self,
        sample_rate: int,
        labels: Labels,
        backdrop: Backdrop,
        medium: Medium | None = None,
        mark: Mark | None = None,
    ) -> None:
        self._medium = medium or Medium()
        rate = self._medium.sample_rate
        self._level = Leveller(sample_rate)
        self._resampler = soxr.ResampleStream(sample_rate, rate, 1, dtype="float32", quality="HQ")
        self._mixer = Mixer(backdrop, rate)
        self._mark = mark
        self._encoder = formats.encoder(self._medium, labels)
        self._waveform = Waveform()
        self.content_type = self._encoder.content_type
        self.begun = False

    @property
    def audible(self) -> bool:
        """Whether anything could be heard of the voice so far."""
        return self._level.audible

    def add(self, pcm: bytes) -> bytes:
        """What can be sent now. The first frames come with the first PCM, however little it is."""
        opening = b"" if self.begun else self._opening()
        return opening + self._voiced(self._level.add(pcm), last=False)

    def finish(self) -> Piece:
        """The rest. Raises SpeechFailed when the PCM ended in half a sample."""
        voiced = self._voiced(self._level.finish(), last=True)
        ending = self._encoded(self._mixer.ending()) + self._marked_rest() + b"".join(self._encoder.finish())
        return Piece(voiced + ending, Summary(self._encoder.seconds, self._waveform.values()))

    def _opening(self) -> bytes:
        """The encoder's own silence is the first part of the lead-in."""
        self.begun = True
        silence = np.zeros(lead_in(self._medium.sample_rate) - self._encoder.delay_samples, np.float32)
        return self._encoder.opening + self._encoded(self._mixer.under(silence))

    def _voiced(self, voice: Samples, *, last: bool) -> bytes:
        return self._encoded(self._mixer.under(self._resampler.resample_chunk(voice, last=last)))

    def _encoded(self, mixed: Samples) -> bytes:
        self._waveform.add(mixed)
        marked = mixed if self._mark is None else limited(self._mark.add(mixed))
        return b"".join(self._encoder.encode(marked))

    def _marked_rest(self) -> bytes:
        if self._mark is None:
            return b""
        return b"".join(self._encoder.encode(limited(self._mark.finish())))
