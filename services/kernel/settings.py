"""How a process reads its settings: from its environment and from files, and not at all when one is wrong."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

S = TypeVar("S", bound=BaseSettings)
# A folder with one file for each secret, named like its variable: what is in a file is in no process list.
SECRETS_DIR = "SERVER_SECRETS_DIR"


class SettingsWrong(SystemExit):
    """Ends the process: one line for each setting that is missing or wrong, and never its value."""


def read(kind: type[S]) -> S:
    """The settings of a process. Variables win over files. Raises SettingsWrong."""
    try:
        return kind(_secrets_dir=os.environ.get(SECRETS_DIR) or None)
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        raise SettingsWrong("\n".join(_lines(error, prefix))) from None


def read_secret(file: Path) -> str:
    """The key that is all a file holds. Raises ValueError, which names the file and never what is in it."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"{file} cannot be read: {cause}") from None
    if not secret or not secret.isascii() or not secret.isprintable():
        raise ValueError(f"{file} does not hold an API key")
    return secret


def _lines(error: ValidationError, prefix: str) -> list[str]:
    return [
        f"setting {(prefix + '.'.join(map(str, wrong['loc']))).upper()}: {_said(wrong['type'], wrong['msg'])}"
        for wrong in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _said(kind: str, message: str) -> str:
    return "is not set, and has no default" if kind == "missing" else message
