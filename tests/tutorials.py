"""The commands of the tutorials, as their reader would paste them."""

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent.parent / "docs/tutorials"
LANGUAGES: Final = ("en", "es")
NAMES: Final = ("first-memo", "provider-key", "deploying")
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str, name: str) -> list[tuple[str, str]]:
    """What is fenced, with what it is: sh for commands, json and text for answers."""
    return _BLOCK.findall((FOLDER / language / f"{name}.md").read_text(encoding="utf-8"))


def commands(language: str, name: str) -> list[str]:
    return [text for kind, text in blocks(language, name) if kind == "sh"]
