"""The first sentence of a note, which may be spoken while the second is still being written."""

from collections.abc import Callable, Iterator
from typing import Final

from services.content.domain import (
    Brief,
    Lexicon,
    Rule,
    characters,
    first_sentence,
    has_stop,
    repair,
    violations,
)

# Shorter ones leave a listener waiting for what follows, and speech engines little to go by.
_SHORTEST_OPENING: Final = 30
# What the rest of a note puts right.
_STILL_TO_COME: Final = frozenset({Rule.LENGTH, Rule.VALUE_MISSING})

LetGo = Callable[[str], None]


class Opening:
    """Of one note. It is let go at most once, and only when code can end the note should the model not:
    whatever happens afterwards, there is a note that begins with it and keeps every rule."""

    def __init__(
        self,
        brief: Brief,
        lexicon: Lexicon,
        endings: Callable[[str], Iterator[str]],
        let_go: LetGo | None,
    ) -> None:
        self._brief = brief
        self._lexicon = lexicon
        self._endings = endings
        # A stop inside the value would be taken for the end of a sentence.
        self._let_go = None if has_stop(brief.value) else let_go
        # Empty until it is let go.
        self.text = ""
        self._raw = ""

    def goes(self, written: str) -> bool:
        """Whether it was let go now, by what is written so far."""
        if self._let_go is None or self._raw:
            return False
        self._raw = first_sentence(written, self._brief.language)
        opening = repair(self._raw, self._brief.value) if self._raw else ""
        if not self._may_be_heard(opening):
            return False
        self.text = opening
        self._let_go(opening)
        return True

    def _may_be_heard(self, opening: str) -> bool:
        if characters(opening) < _SHORTEST_OPENING:
            return False
        broken = violations(opening, self._brief, self._lexicon)
        # By itself: in a whole note another language would be lost among the words of the ending.
        if any(violation.rule not in _STILL_TO_COME for violation in broken):
            return False
        return next(self._endings(opening), None) is not None

    def forget(self) -> None:
        """Another attempt begins; what was let go stays."""
        if not self.text:
            self._raw = ""

    def followed_by_the_rest_of(self, written: str) -> str:
        """What was written, repaired; what was let go stays as it is."""
        if not self.text:
            return repair(written, self._brief.value)
        rest = written.lstrip()[len(self._raw) :]
        space = " " if rest[:1].isspace() else ""
        return self.text + (space + repair(rest, self._brief.value)).rstrip()

    def endings(self) -> Iterator[str]:
        """Whole notes that begin with it, by code."""
        return self._endings(self.text)
