"""A process that memos are put together in: `python -m services.synthesis.mixing_worker LOOPS WATERMARK`.

LOOPS is the number of an open file with the sounds, WATERMARK an import string. It reads questions from
standard input, answers on standard output, and ends when its input does: with the service, however that ends.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, BinaryIO, Final

from services.kernel.programs import private_stdout
from services.synthesis.ambience import Ambience
from services.synthesis.domain import SpeechFailed
from services.synthesis.engines.catalogue import imported
from services.synthesis.memo import Memo
from services.synthesis.mixing import wire
from services.synthesis.mixing.crew import Crew
from services.synthesis.ports import Watermark

# Encoding takes what the event loop, the gateway and the database leave: who asks for something small must
# not wait for it.
_NICENESS: Final = 5


class Worker:
    """Steps that a listener hears silence for have a thread of their own; those that only keep ahead of the
    player are taken in the order of their turns. Of one memo there is one step at a time."""

    def __init__(self, ambience: Ambience, watermark: Watermark | None, answers: BinaryIO) -> None:
        self._ambience = ambience
        self._watermark = watermark
        self._answers = answers
        self._answering = Lock()
        self._memos: dict[int, Memo | Exception] = {}
        self._urgent = Crew("first", 1, niceness=0)
        self._usual = Crew("rest", 1, niceness=_NICENESS)

    def take(self, what: bytes, number: int, turn: float, body: bytes) -> None:
        if what == wire.OPEN:
            self._open(number, body)
        elif what == wire.DROP:
            self._memos.pop(number, None)
        elif what == wire.FIRST:
            self._urgent.put(0, partial(self._answer, number, partial(_added, body)))
        elif what == wire.ADD:
            self._usual.put(turn, partial(self._answer, number, partial(_added, body)))
        elif what == wire.END:
            self._usual.put(turn, partial(self._answer, number, partial(_ended, body)))

    def ready(self) -> None:
        self._say(wire.answer(wire.READY, 0))

    def _open(self, number: int, body: bytes) -> None:
        try:
            sample_rate, labels, background, medium = wire.opened(body)
            backdrop = self._ambience.backdrop(background, medium.sample_rate)
            mark = self._watermark.begin(medium.sample_rate) if self._watermark else None
            self._memos[number] = Memo(sample_rate, labels, backdrop, medium, mark)
        except Exception as failure:  # told to whoever asks for its first audio
            self._memos[number] = failure

    def _answer(self, number: int, work: Callable[[Memo], tuple[dict[str, Any], bytes]]) -> None:
        memo = self._memos.get(number)
        if memo is None:
            # Its listener left while it waited.
            return
        try:
            said, audio = work(_opened(memo))
            told = wire.answer(wire.DONE, number, said, audio)
        except SpeechFailed as failure:
            told = wire.answer(wire.REFUSED, number, {"message": failure.message})
        except Exception:
            told = wire.answer(wire.CRASHED, number, {"traceback": traceback.format_exc()})
        self._say(told)

    def _say(self, told: bytes) -> None:
        with self._answering:
            self._answers.write(told)
            self._answers.flush()


def _opened(memo: Memo | Exception) -> Memo:
    if isinstance(memo, Exception):
        raise memo
    return memo


def _added(pcm: bytes, memo: Memo) -> tuple[dict[str, Any], bytes]:
    said = {} if memo.begun else {"content_type": memo.content_type}
    return said, memo.add(pcm)


def _ended(held: bytes, memo: Memo) -> tuple[dict[str, Any], bytes]:
    """What was still waiting, and the end, in one step. Raises SpeechFailed when all of it was silence: it
    would be kept, and charged, as a whole memo."""
    audio, last = memo.add(held) if held else b"", memo.finish()
    if not memo.audible:
        raise SpeechFailed("The speech engine said nothing that could be heard.")
    return wire.summary(last), audio + last.audio


def main(loops: int, watermark: str) -> None:
    # Ctrl-C reaches the whole terminal, and some stop whole process groups: the service is not done by then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    questions, answers = sys.stdin.buffer, private_stdout()
    with os.fdopen(loops, "rb") as file:
        ambience = Ambience.borrowed(file)
    worker = Worker(ambience, imported(watermark)() if watermark else None, answers)
    worker.ready()
    while (asked := wire.read_question(questions)) is not None:
        worker.take(*asked)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
