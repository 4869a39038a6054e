"""What content needs from outside: something that writes, and a memory of what was written."""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Protocol

from services.content.domain import Brief


class Model(Protocol):
    """Writes one note for a brief.

    Raises ModelUnavailable (no answer, or none that can be read), ModelRefused (it will not write
    about this value) and, when it judges itself, ContentRulesNotMet. Its text may break the rules:
    the caller checks it.
    """

    @property
    def name(self) -> str: ...

    @property
    def languages(self) -> frozenset[str]:
        """Primary language tags. It is asked for no other language."""

    @property
    def seconds(self) -> float | None:
        """For one note, all attempts together. None: it waits for nobody, so no budget ends it."""

    def write(self, brief: Brief) -> AsyncGenerator[str, None]:
        """Yields the note piece by piece, as it is written."""


class Endings(Protocol):
    """Ends a note whose first sentence cannot be changed any more."""

    def of(self, opening: str, brief: Brief) -> Iterator[str]:
        """Whole notes that begin with it, keep every rule, and are none of `brief.avoid`."""


class Filters(Protocol):
    """What must not be said, whoever asks for it or wrote it. Both raise ContentRefused."""

    def check_input(self, value: str, topic: str, language: str) -> None: ...

    def check_output(self, text: str, brief: Brief) -> None: ...


class RecentNotes(Protocol):
    """Fingerprints of the notes that each user was given lately. Raises RecentNotesUnavailable."""

    async def of(self, user_id: str) -> frozenset[str]: ...

    async def claim(self, user_id: str, fingerprint: str) -> bool:
        """Remember a note from now on; false when the user was given it lately. One caller wins."""

    async def forget(self, user_id: str) -> int:
        """How many notes were remembered. What is being written for the user is not remembered either."""


@dataclass(frozen=True, slots=True)
class Question:
    """What makes two requests the same: the same user asks the same writers for the same thing."""

    user_id: str
    # The version of the prompts and the models that would be asked.
    written_by: str
    language: str
    topic: str
    value: str


@dataclass(frozen=True, slots=True)
class Thought:
    text: str
    model: str


class Thoughts(Protocol):
    """Answers kept for a short while. Raises ThoughtsUnavailable."""

    async def find(self, question: Question) -> Thought | None: ...

    async def keep(self, question: Question, thought: Thought) -> None: ...

    async def forget(self, user_id: str) -> int:
        """How many thoughts were kept. What is being written for the user is not kept either."""


class Answers(Protocol):
    """What was answered under an Idempotency-Key. Raises AnswersUnavailable."""

    async def forget(self, user_id: str) -> int:
        """Erase all answers to a user; how many keys there were."""


class Languages(Protocol):
    """In which language performers speak. Raises PeerUnavailable or Deadline: nobody knows then, and a note
    in another language would give the performer away."""

    async def of_caller(self) -> str: ...
