"""Becomes another program that cannot outlive its parent: `python -I -S spawn.py PARENT_PID PROGRAM ARG...`.

It runs between fork and exec as a program of its own, because code in a forked copy of a process
with threads (gRPC's) may deadlock.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # The parent died before we could ask to be told.
        raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - becoming this program is the purpose


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
