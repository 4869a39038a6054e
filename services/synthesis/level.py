"""Brings an engine's voice to one loudness while it is still being spoken.

Every number here depends on the position in the speech only, never on how it was cut into chunks:
the same speech gives the same samples.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.domain import SpeechFailed

Samples = NDArray[np.float32]

# RMS of the voice while it speaks, pauses not counted. Leaves about 12 dB for its peaks.
TARGET_DBFS: Final = -20.0
# More than this is not a quiet voice but a broken one; amplified, it would be noise.
MOST_DB: Final = 15.0
BLOCKS_PER_SECOND: Final = 20
# The level is judged this far ahead of what is sent, so that the first word is already right.
AHEAD_BLOCKS: Final = 8
# Evidence that halves the trust in "the engine is at the target already".
_DOUBT_BLOCKS: Final = 2
_SILENCE_DBFS: Final = -60
# Blocks this far below the voice's mean are pauses.
_PAUSE_DB: Final = 12
_EDGE_SECONDS: Final = 0.005


class Leveller:
    """16-bit PCM of any cut in, float samples at TARGET_DBFS out, AHEAD_BLOCKS later."""

    def __init__(self, sample_rate: int) -> None:
        self._block = sample_rate // BLOCKS_PER_SECOND
        self._edge = int(sample_rate * _EDGE_SECONDS)
        self._uncut = bytearray()
        self._waiting: list[Samples] = []
        self._loudness = _Loudness()
        self._gain: float | None = None

    def add(self, pcm: bytes) -> Samples:
        self._uncut += pcm
        whole = len(self._uncut) // (2 * self._block) * 2 * self._block
        blocks = _samples(bytes(self._uncut[:whole])).reshape(-1, self._block)
        del self._uncut[:whole]
        done = [self._push(block) for block in blocks]
        return _joined(done)

    @property
    def audible(self) -> bool:
        """Whether anything could be heard so far."""
        return self._loudness.audible

    def finish(self) -> Samples:
        """What was held back, with a soft end. Raises SpeechFailed for half a sample."""
        if len(self._uncut) % 2:
            raise SpeechFailed("The speech engine stopped in the middle of a sample.")
        if self._uncut:
            rest = _samples(bytes(self._uncut))
            self._uncut.clear()
            held = [self._push(rest)]
        else:
            held = []
        held += [self._levelled(block) for block in self._waiting]
        self._waiting.clear()
        voice = _joined(held)
        edge = min(self._edge, len(voice))
        voice[len(voice) - edge :] *= np.linspace(1, 0, edge, dtype=np.float32)
        return voice

    def _push(self, block: Samples) -> Samples:
        self._loudness.hear(block)
        self._waiting.append(block)
        if len(self._waiting) <= AHEAD_BLOCKS:
            return block[:0]
        return self._levelled(self._waiting.pop(0))

    def _levelled(self, block: Samples) -> Samples:
        gain = self._loudness.gain()
        before = gain if self._gain is None else self._gain
        # A straight line from gain to gain: no step, so no click.
        ramp = np.linspace(before, gain, len(block), endpoint=False, dtype=np.float32)
        if self._gain is None:
            edge = min(self._edge, len(block))
            ramp[:edge] *= np.linspace(0, 1, edge, dtype=np.float32)
        self._gain = gain
        return block * ramp


class _Loudness:
    """The level of the voice so far, counted in steps of 1 dB so that memory does not grow."""

    def __init__(self) -> None:
        self._counts = np.zeros(-_SILENCE_DBFS + 1)
        self._powers = np.zeros(-_SILENCE_DBFS + 1)

    def hear(self, block: Samples) -> None:
        power = float(np.mean(np.square(block, dtype=np.float64)))
        step = int(10 * np.log10(power + 1e-12)) - _SILENCE_DBFS
        if step >= 0:
            self._counts[step] += 1
            self._powers[step] += power

    @property
    def audible(self) -> bool:
        return bool(self._counts.any())

    def gain(self) -> float:
        """As a factor; moves from 1 towards the target as evidence comes in."""
        heard = self._counts.sum()
        if not heard:
            return 1.0
        mean = 10 * np.log10(self._powers.sum() / heard)
        first = max(0, int(mean - _PAUSE_DB) - _SILENCE_DBFS)
        blocks = self._counts[first:].sum()
        level = 10 * np.log10(self._powers[first:].sum() / blocks)
        wanted = (TARGET_DBFS - level) * blocks / (blocks + _DOUBT_BLOCKS)
        return float(10 ** (np.clip(wanted, -MOST_DB, MOST_DB) / 20))


def _samples(pcm: bytes) -> Samples:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)


def _joined(parts: list[Samples]) -> Samples:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
