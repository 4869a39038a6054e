"""`newvisions check`: the rules of dev/semgrep tried on their examples, then the code read with them.

Semgrep and what it needs are 380 MB: a venv of its own, installed when it is asked for. Nothing is fetched
from its vendor and nothing is told to them: the rules are our own.
"""

from collections.abc import Iterator

from dev.pinned import pinned
from dev.project import ROOT

RULES = ROOT / "dev/semgrep"
_READ = ("services", "gateway")
_QUIETLY = ("--metrics=off", "--disable-version-check")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Raises ToolNotInstalled."""
    semgrep = str(pinned("semgrep"))
    yield "own rules find what they should", [semgrep, "scan", "--test", *_QUIETLY, str(RULES)]
    rules = ("--config", str(RULES / "rules.yaml"))
    # Whatever cannot be parsed was not read, and that is a failure as well.
    strict = ("--error", "--strict", "--quiet")
    yield "own rules", [semgrep, "scan", *strict, *_QUIETLY, *rules, *_READ]
