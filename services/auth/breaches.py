"""The passwords that were breached most often, from a file that an operator may change."""

from pathlib import Path

from services.auth.domain.passwords import plain_form
from services.kernel.settings import SettingUnusable


class BreachedPasswordsUnusable(SettingUnusable):
    """Stops the start: without the list every password would pass."""


def read_breached(path: Path) -> frozenset[str]:
    """One a line; lines that begin with # are comments. Raises BreachedPasswordsUnusable."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BreachedPasswordsUnusable(
            f"setting AUTH_BREACHED_PASSWORDS_FILE: the breached passwords cannot be read: {path}"
        ) from error
    words = {plain_form(line.strip()) for line in lines if line.strip() and not line.startswith("#")}
    if not words:
        raise BreachedPasswordsUnusable(
            f"setting AUTH_BREACHED_PASSWORDS_FILE: there are no breached passwords in {path}"
        )
    return frozenset(words)
