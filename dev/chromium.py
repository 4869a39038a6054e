"""Finds the browser of `newvisions test --browser`: the system's own, for no package holds one."""

import os
import shutil
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
MISSING = (
    "there is no Chromium: install one (Debian, Ubuntu: apt-get install chromium; "
    "macOS: brew install --cask chromium) or name it in the variable CHROMIUM"
)


def find() -> Path | None:
    """The one that the variable CHROMIUM names, else the first that is installed."""
    named = os.environ.get("CHROMIUM")
    candidates = [named] if named else [*map(shutil.which, NAMES), *_MACOS]
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)
