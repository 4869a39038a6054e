"""MP3, frame by frame, mono, at a constant bit rate: 128 kb/s at the usual 44.1 kHz."""

from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from services.synthesis import tag
from services.synthesis.domain import Labels

RATE: Final = 44_100
# Of the usual rate; below 32 kHz they have half as many.
FRAME_SAMPLES: Final = 1152
# LAME begins with this much silence of its own. No header takes it back (a stream cannot know its
# length when it begins), so it counts as part of the audio.
DELAY_SAMPLES: Final = 1105
# Nothing is gained by more for one channel; MPEG-2.5, at 8 kHz, allows no more than 64.
_BITS_PER_SECOND: Final = {8_000: 32_000, 16_000: 64_000, 22_050: 64_000, 24_000: 64_000}
_USUAL_BITS_PER_SECOND: Final = 128_000


class Mp3:
    """Hands out each frame as soon as it is whole.

    No Xing header: at a constant bit rate without one, every player computes the true length.
    No bit reservoir either: frames leave two frames earlier, and none needs another to be decoded, so
    audio can be cut, joined and looped at any frame. At 128 kb/s for one channel that is not heard.
    """

    content_type = "audio/mpeg"
    delay_samples = DELAY_SAMPLES

    def __init__(self, sample_rate: int = RATE) -> None:
        context = av.CodecContext.create("libmp3lame", "w")
        context.sample_rate = sample_rate
        context.layout = "mono"
        context.format = "fltp"
        context.bit_rate = _BITS_PER_SECOND.get(sample_rate, _USUAL_BITS_PER_SECOND)
        context.options = {"reservoir": "0"}
        context.open()
        self._context = context
        self._rate = sample_rate
        self._at = 0
        self._frames = 0

    @property
    def seconds(self) -> float:
        return self._frames * int(self._context.frame_size) / self._rate

    def encode(self, samples: NDArray[np.float32]) -> list[bytes]:
        if not len(samples):
            return []
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._at
        self._at += len(samples)
        return self._taken(self._context.encode(frame))

    def finish(self) -> list[bytes]:
        return self._taken(self._context.encode(None))

    def _taken(self, packets: list[av.Packet]) -> list[bytes]:
        self._frames += len(packets)
        return [bytes(packet) for packet in packets]


class TaggedMp3(Mp3):
    """A memo: the tag leads, so that it is there however early a listener leaves."""

    def __init__(self, sample_rate: int, labels: Labels) -> None:
        super().__init__(sample_rate)
        self.opening = tag.id3(labels)
