"""What the doctor found: one line each."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: State
    # What is so; never a value that may be secret.
    said: str
    # How to mend it.
    fix: str = ""

    def __str__(self) -> str:
        mended = f" Fix: {self.fix}" if self.fix else ""
        return f"{self.state.value:<8} {self.what}: {self.said}.{mended}"


# Looks at one thing, and ends by itself: each step has its own limit.
Check = Callable[[], Awaitable[Sequence[Finding]]]


def ok(what: str, said: str) -> Finding:
    return Finding(what, State.OK, said)


def warning(what: str, said: str, fix: str) -> Finding:
    return Finding(what, State.WARNING, said, fix)


def failed(what: str, said: str, fix: str) -> Finding:
    return Finding(what, State.FAILED, said, fix)


def skipped(what: str, said: str) -> Finding:
    return Finding(what, State.SKIPPED, said)
