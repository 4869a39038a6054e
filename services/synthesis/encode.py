"""MP3, frame by frame: 44.1 kHz, mono, 128 kb/s, constant bit rate."""

from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from services.synthesis.mix import RATE

BITS_PER_SECOND: Final = 128_000
FRAME_SAMPLES: Final = 1152
# LAME begins with this much silence of its own. No header takes it back (a stream cannot know its
# length when it begins), so it counts as part of the audio.
DELAY_SAMPLES: Final = 1105


class Encoder:
    """Hands out each frame as soon as it is whole.

    No Xing header: at a constant bit rate without one, every player computes the true length.
    No bit reservoir either: frames leave two frames earlier, and none needs another to be decoded, so
    audio can be cut, joined and looped at any frame. At 128 kb/s for one channel that is not heard.
    """

    def __init__(self) -> None:
        context = av.CodecContext.create("libmp3lame", "w")
        context.sample_rate = RATE
        context.layout = "mono"
        context.format = "fltp"
        context.bit_rate = BITS_PER_SECOND
        context.options = {"reservoir": "0"}
        context.open()
        self._context = context
        self._at = 0
        self._frames = 0

    @property
    def seconds(self) -> float:
        """How long the audio is so far, as any player will say."""
        return self._frames * FRAME_SAMPLES / RATE

    def encode(self, samples: NDArray[np.float32]) -> list[bytes]:
        if not len(samples):
            return []
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate = RATE
        frame.pts = self._at
        self._at += len(samples)
        return self._taken(self._context.encode(frame))

    def finish(self) -> list[bytes]:
        return self._taken(self._context.encode(None))

    def _taken(self, packets: list[av.Packet]) -> list[bytes]:
        self._frames += len(packets)
        return [bytes(packet) for packet in packets]
