"""The process that recordings are examined in: `python -m services.voice.sample.worker SECONDS CPU_SECONDS`.

Uploads come from strangers, so they are decoded away from everything else, by a process that can be
killed. It reads frames from standard input and answers on standard output; its answers are plain
lengths, JSON and audio, which the service can read without trusting them. It ends with its parent:
idle, because its input ends, and busy, because of its alarm. One that takes more of the processor's time than
any honest recording ends by itself; how long it takes on a busy machine says nothing about a recording.
"""

import json
import os
import resource
import signal
import sys
from typing import Any, BinaryIO, Final

from services.kernel.programs import private_stdout
from services.voice.sample.wire import LENGTH, REREAD, header_of

# Performances on the same machine come first.
_NICENESS: Final = 5
# Examining the longest recording takes a quarter of it.
MOST_MEMORY_BYTES: Final = 1 << 30


def main(limit_seconds: int, processor_seconds: float) -> None:
    requests, answers = sys.stdin.buffer, private_stdout()
    # Ctrl-C reaches the whole terminal; the parent decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    _limit_itself()
    from services.voice.sample import examination  # Half a second of imports, after the signals are set.

    _answer(answers, {"ready": True})
    while len(asked := requests.read(1 + LENGTH.size)) == 1 + LENGTH.size:
        signal.alarm(limit_seconds)
        audio = requests.read(LENGTH.unpack(asked[1:])[0])
        signal.setitimer(signal.ITIMER_PROF, processor_seconds)
        answer = _answered(examination, asked[:1], audio)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _answer(answers, *answer)
        signal.alarm(0)


def _limit_itself() -> None:
    """A recording that asks for more memory is damaged; and a voice is nothing to leave in a core file."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answered(examination: Any, question: bytes, audio: bytes) -> tuple[Any, ...]:
    from services.voice.refusals import SampleRefused

    try:
        found = examination.reread(audio) if question == REREAD else examination.examine(audio)
    except SampleRefused as refusal:
        return ({"refused": refusal.reason, "message": refusal.message},)
    return header_of(found), found.pcm, found.mp3


def _answer(answers: BinaryIO, header: dict[str, object], *parts: bytes) -> None:
    coded = json.dumps(header).encode()
    answers.write(LENGTH.pack(len(coded)) + coded)
    for part in parts:
        answers.write(part)
    answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
