"""What the processes of a stack need: processor time, memory, threads, open files. Linux only.

A process is known by the log that it writes to, as `dev.process` has it; what it starts writes there too.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Needs:
    """Of one process, and of those it started."""

    # Since it began.
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0
    threads: int = 0
    files: int = 0

    def __add__(self, other: "Needs") -> "Needs":
        return Needs(
            self.cpu_seconds + other.cpu_seconds,
            self.memory_mb + other.memory_mb,
            self.threads + other.threads,
            self.files + other.files,
        )


def needs_below(folder: Path) -> dict[str, Needs]:
    """By the name of the log, for all processes whose log is somewhere below this folder."""
    found: defaultdict[str, Needs] = defaultdict(Needs)
    for name, process in _writers(folder.resolve()):
        try:
            found[name] += _needs(process)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return dict(found)


def _writers(folder: Path) -> Iterator[tuple[str, Path]]:
    for process in _PROC.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            log = (process / "fd/2").readlink()
        except OSError:
            # Ended meanwhile, or not ours to look at.
            continue
        if log.suffix == ".log" and log.is_relative_to(folder):
            yield log.stem, process


def _needs(process: Path) -> Needs:
    # The name of the program may hold anything but ends with the last bracket.
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    # Its own time, and that of children that have ended.
    ticks = sum(int(fields[at]) for at in range(11, 15))
    return Needs(
        cpu_seconds=ticks / _TICKS,
        memory_mb=int(fields[21]) * _PAGE_BYTES / (1 << 20),
        threads=int(fields[17]),
        files=len(os.listdir(process / "fd")),  # noqa: PTH208 - names only
    )
