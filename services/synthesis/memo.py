"""One memo from PCM to MP3: level, resample, mix, encode; in order, in constant memory.

All of it is work for the processor, so it runs in the studio's threads, never in the event loop.
"""

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from services.synthesis import tag
from services.synthesis.domain import Labels, Piece, Summary
from services.synthesis.encode import DELAY_SAMPLES, Encoder
from services.synthesis.level import Leveller
from services.synthesis.mix import LEAD_IN_SAMPLES, RATE, Mixer
from services.synthesis.waveform import Waveform

Samples = NDArray[np.float32]

# The encoder's own silence is the first part of the lead-in.
_ROOM_BEFORE: Final = LEAD_IN_SAMPLES - DELAY_SAMPLES


class Memo:
    """Takes PCM as it is spoken; gives out whole frames, the tag and the lead-in with the first."""

    def __init__(self, sample_rate: int, labels: Labels, loop: Samples, background_percent: int) -> None:
        self._labels = labels
        self._level = Leveller(sample_rate)
        self._resampler = soxr.ResampleStream(sample_rate, RATE, 1, dtype="float32", quality="HQ")
        self._mixer = Mixer(loop, background_percent)
        self._encoder = Encoder()
        self._waveform = Waveform()
        self.begun = False

    def add(self, pcm: bytes) -> bytes:
        """What can be sent now. The first frames come with the first PCM, however little it is."""
        opening = b"" if self.begun else self._opening()
        return opening + self._voiced(self._level.add(pcm), last=False)

    def finish(self) -> Piece:
        """The rest. Raises SpeechFailed when the PCM ended in half a sample."""
        voiced = self._voiced(self._level.finish(), last=True)
        ending = self._encoded(self._mixer.ending()) + b"".join(self._encoder.finish())
        return Piece(voiced + ending, Summary(self._encoder.seconds, self._waveform.values()))

    def _opening(self) -> bytes:
        self.begun = True
        silence = np.zeros(_ROOM_BEFORE, np.float32)
        return tag.ai_generated(self._labels) + self._encoded(self._mixer.under(silence))

    def _voiced(self, voice: Samples, *, last: bool) -> bytes:
        return self._encoded(self._mixer.under(self._resampler.resample_chunk(voice, last=last)))

    def _encoded(self, mixed: Samples) -> bytes:
        self._waveform.add(mixed)
        return b"".join(self._encoder.encode(mixed))
