"""What content needs from outside: something that writes, and a memory of what was written."""

from typing import Protocol

from services.content.domain import Brief


class Model(Protocol):
    """Writes one note for a brief.

    Raises ModelUnavailable (no answer, or none that can be read), ModelRefused (it will not write
    about this value), LanguageNotWritten and, when it judges itself, ContentRulesNotMet. Its text
    may break the rules: the caller checks it.
    """

    name: str

    async def compose(self, brief: Brief) -> str: ...


class RecentNotes(Protocol):
    """Fingerprints of the notes that each user was given lately. Raises RecentNotesUnavailable."""

    async def of(self, user_id: str) -> frozenset[str]: ...

    async def remember(self, user_id: str, fingerprint: str) -> None: ...

    async def forget(self, user_id: str) -> int:
        """How many notes were remembered."""
