"""The sounds that are mixed under memos, all made here: nothing is a recording, nothing has a licence.

Each is made once in a process, in whichever thread asks first; the same in every process. Processes that mix
borrow the service's.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import BinaryIO, Final

import numpy as np

from services.synthesis import tag
from services.synthesis.ambience.fan import fan_loop
from services.synthesis.ambience.noise import LOOP_FRAMES, LOOP_SAMPLES, Loop, at_rate
from services.synthesis.ambience.rain import rain_loop
from services.synthesis.ambience.room import room_loop
from services.synthesis.ambience.street import street_loop
from services.synthesis.domain import Background, Sound
from services.synthesis.formats.mp3 import FRAME_SAMPLES, Mp3
from services.synthesis.mix import RATE, Backdrop

_SOUNDS: Final[dict[Sound, tuple[str, Callable[[], Loop]]]] = {
    Sound.FAN: ("Fan", fan_loop),
    Sound.ROOM_TONE: ("Room tone", room_loop),
    Sound.STREET: ("Street", street_loop),
    Sound.RAIN: ("Rain", rain_loop),
}
_SILENCE: Final = np.zeros(1, np.float32)
# 190 kB each: every volume that somebody tries now, in one sound or two.
_KEPT: Final = 64


class Ambience:
    """All that takes time is for a thread, but for `fan_mp3`."""

    def __init__(self) -> None:
        self._loops: dict[tuple[Sound, int], Loop] = {}
        self._making = Lock()
        self.mp3 = lru_cache(maxsize=_KEPT)(self._mp3)
        self.fan_mp3 = b""

    @classmethod
    def made(cls) -> "Ambience":
        """With every loop at the usual rate: no memo waits for one."""
        ambience = cls()
        for sound in _SOUNDS:
            ambience.loop(sound)
        ambience.fan_mp3 = ambience.mp3(Sound.FAN, 100)
        return ambience

    def lent(self) -> BinaryIO:
        """An open file without a name, with every loop at the usual rate, for other processes to borrow."""
        file = _unnamed_file()
        for sound in _SOUNDS:
            file.write(self.loop(sound).astype(np.float32).tobytes())
        file.flush()
        return file

    @classmethod
    def borrowed(cls, file: BinaryIO) -> "Ambience":
        """From what `lent` returned; the memory is shared with whoever lent it."""
        ambience = cls()
        loops = np.memmap(file, np.float32, "r", shape=(len(_SOUNDS), LOOP_SAMPLES))
        ambience._loops = {(sound, RATE): loops[at] for at, sound in enumerate(_SOUNDS)}
        return ambience

    def backdrop(self, background: Background, rate: int = RATE) -> Backdrop:
        if background.sound is Sound.OFF or not background.volume_percent:
            return Backdrop(_SILENCE, 0)
        return Backdrop(self.loop(background.sound, rate), background.volume_percent, background.ducking)

    def loop(self, sound: Sound, rate: int = RATE) -> Loop:
        """One turn, as loud as at 100 percent."""
        made = self._loops.get((sound, rate))
        if made is not None:
            return made
        usual = self.loop(sound) if rate != RATE else None
        with self._making:
            if (sound, rate) not in self._loops:
                self._loops[sound, rate] = _SOUNDS[sound][1]() if usual is None else at_rate(usual, rate)
            return self._loops[sound, rate]

    def _mp3(self, sound: Sound, volume_percent: int) -> bytes:
        """One turn of the loop, cut out of a longer recording so that its ends fit together."""
        before, after = 8, 4
        loop = self.loop(sound) * np.float32(volume_percent / 100)
        longer = np.concatenate((loop[-before * FRAME_SAMPLES :], loop, loop[: after * FRAME_SAMPLES]))
        frames = Mp3().encode(longer)
        return tag.sound(_SOUNDS[sound][0]) + b"".join(frames[before : before + LOOP_FRAMES])


def _unnamed_file() -> BinaryIO:
    """In memory where that can be: a container may have no disk that it can write to."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("loops"), "w+b")
    return tempfile.TemporaryFile()
