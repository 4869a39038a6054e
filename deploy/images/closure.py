"""The part of requirements.lock that one image needs: `python closure.py auth` prints it, hashes included.

The lock file names for each package who asked for it, so the way from a service's own requirements to all
that they need is in it already. Needs only the standard library: it runs in the image's build.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")
_ASKED_BY = re.compile(r"^ {4}#(?: via)?\s+([A-Za-z0-9][A-Za-z0-9._-]*)")


class UnknownRequirement(KeyError):
    """An image asks for a package that the lock file does not pin."""


def closure(lock: str, roots: list[str]) -> str:
    """The lines of `lock` for `roots` and everything they need. Raises UnknownRequirement."""
    entries = list(_entries(lock))
    needs: dict[str, set[str]] = {}
    for name, text in entries:
        for line in text.splitlines():
            if asked := _ASKED_BY.match(line):
                needs.setdefault(_normal(asked[1]), set()).add(name)
    wanted = _reached({_normal(root) for root in roots}, needs)
    if unknown := wanted - {name for name, _ in entries}:
        raise UnknownRequirement(", ".join(sorted(unknown)))
    return "".join(text for name, text in entries if name in wanted)


def roots_of(image: str, project: Mapping[str, object]) -> list[str]:
    """What pyproject.toml says an image needs directly. Raises KeyError for an image of another name."""
    images = project["tool"]["newvisions"]["images"]  # type: ignore[index]
    return [*images["kernel"], *images[image]]


def _entries(lock: str) -> Iterator[tuple[str, str]]:
    """Each pinned package with its lines; one may be pinned twice, for different interpreters."""
    name, lines = "", list[str]()
    for line in lock.splitlines(keepends=True):
        if pinned := _PINNED.match(line):
            if name:
                yield name, "".join(lines)
            name, lines = _normal(pinned[1]), []
        if name:
            lines.append(line)
    if name:
        yield name, "".join(lines)


def _reached(roots: set[str], needs: Mapping[str, set[str]]) -> set[str]:
    reached, waiting = set(roots), list(roots)
    while waiting:
        for name in needs.get(waiting.pop(), set()) - reached:
            reached.add(name)
            waiting.append(name)
    return reached


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    described = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sys.stdout.write(closure((ROOT / "requirements.lock").read_text(), roots_of(sys.argv[1], described)))
