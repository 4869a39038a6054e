"""Which passwords nobody should have."""

import string
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.auth.domain.accounts import name_key, require_strong
from services.auth.domain.errors import PasswordBreached, PasswordTooWeak

# What people put in the place of letters.
_DISGUISES = (
    str.maketrans("013457@$!+", "oleastasit"),
    str.maketrans("013457@$!+", "oieastasit"),
)
_ENDINGS = string.digits + string.punctuation + " "
# More than this many characters around a common word are a password of their own.
_LONGEST_ENDING = 4
# What is left of a shorter one says too little: "ana-2-xyz" is not "ana".
_SHORTEST_STEM = 5


@dataclass(frozen=True, slots=True)
class PasswordRules:
    # As `plain_form` has them.
    breached: frozenset[str]

    def require_good(self, password: str, shortest: int, names: Iterable[str]) -> None:
        """`names` are those of its user. Raises PasswordTooWeak, PasswordBreached."""
        require_strong(password, shortest)
        plain = plain_form(password)
        if plain in {plain_form(part) for name in names for part in (name, name.partition("@")[0])}:
            raise PasswordTooWeak("The password must not be the username or the email.")
        if any(form in self.breached for form in _forms(plain)):
            raise PasswordBreached("This password is one of those that everybody tries first.")


def plain_form(password: str) -> str:
    """Without regard to case, Unicode form and accents."""
    apart = unicodedata.normalize("NFKD", name_key(password))
    return "".join(character for character in apart if not unicodedata.combining(character))


def _forms(plain: str) -> Iterator[str]:
    """The password and the words that it may be a simple variant of."""
    stem = plain.strip(_ENDINGS)
    short = len(stem) < _SHORTEST_STEM or len(plain) - len(stem) > _LONGEST_ENDING
    for form in {plain} if short else {plain, stem}:
        yield form
        for disguise in _DISGUISES:
            yield form.translate(disguise)
    # A disguise may be at the end as well: "pa$$w0rd!" and "passw0r4".
    for disguise in _DISGUISES:
        yield plain.rstrip(string.punctuation).translate(disguise)
