"""What runs in the engine's own process: the models, and the two things they are asked for."""

import os
import signal
import threading
import time
from functools import cache
from typing import Final

from services.synthesis.engines.local.voice import Line, VoiceBox

_WATCH_SECONDS: Final = 0.5
_threads = 1


def prepare(parent_id: int, threads: int) -> None:
    """Runs once, before the first task."""
    global _threads  # noqa: PLW0603 - the pool's initialiser has no other way to reach its tasks.
    _threads = threads
    # Ctrl-C reaches the whole terminal; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(parent_id,), daemon=True).start()


def warm_up() -> None:
    """Load, and let every kernel and buffer be made before somebody waits for it."""
    _voice_box().warm_up()


def enrol(pcm: bytes, sample_rate: int) -> bytes:
    return _voice_box().enrol(pcm, sample_rate)


def speak(profile: bytes, line: Line) -> bytes:
    return _voice_box().speak(profile, line)


@cache
def _voice_box() -> VoiceBox:
    return VoiceBox(_threads)


def _end_with_parent(parent_id: int) -> None:
    """A parent that was killed cannot tell; an orphan would keep half a gigabyte forever."""
    while os.getppid() == parent_id:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
