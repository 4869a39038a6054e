"""Answers that may be asked for again: found by a keyed hash, and sealed, since some show a secret once."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, Protocol

from services.kernel.replay import Attempt, Earlier

Document = dict[str, Any]

# The index that lets the database remove what has expired, now and then.
EXPIRES_AT: Final = "expires_at"
# The index that finds what is kept for a user; answers to strangers lack the field.
USER: Final = "user"
_LIVES: Final = timedelta(hours=24)


class AnswerDocuments(Protocol):
    """A collection of the service's own, whose failures are the service's own errors."""

    async def insert_unless_there(self, document: Document) -> bool: ...

    async def find_one(self, document_id: object) -> Document | None: ...

    async def update(self, where: Mapping[str, Any], change: Mapping[str, Any]) -> bool: ...

    async def delete(self, where: Mapping[str, Any]) -> bool: ...

    async def delete_all(self, where: Mapping[str, Any]) -> int: ...


class Sealing(Protocol):
    """What was sealed for one label opens for that label only."""

    def seal(self, secret: bytes, label: str) -> bytes: ...

    def open(self, sealed: bytes, label: str) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Secrets:
    sealing: Sealing
    # Without it nobody can try what a request was.
    reference: bytes


def _nobody(attempt: Attempt, answer: bytes) -> str:
    return ""


def _anybody(attempt: Attempt) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a service knows of its requests and answers."""

    # What two requests that ask for the same have in common, where that is not all of it.
    asked: Callable[[Attempt], bytes] = attrgetter("request")
    # The user that a stranger's request made, by its answer.
    made: Callable[[Attempt, bytes], str] = _nobody
    # Whose key a stranger's is, by what is asked: clients choose keys, and two may choose the same.
    stranger: Callable[[Attempt], str] = _anybody


class KeptAnswers:
    """Implements Replays. `longest` is longer than any of these calls may take: then whoever had the key is
    gone."""

    def __init__(
        self,
        answers: AnswerDocuments,
        secrets: Secrets,
        longest: timedelta,
        now: Callable[[], datetime],
        contents: Contents = Contents(),
    ) -> None:
        self._answers = answers
        self._sealing = secrets.sealing
        self._reference = secrets.reference
        self._longest = longest
        self._now = now
        self._contents = contents

    async def claim(self, attempt: Attempt) -> Earlier | None:
        now = self._now()
        ours: Document = {
            "attempt": attempt.attempt_id,
            "request": self._digest(self._contents.asked(attempt)),
            "until": now + self._longest,
            EXPIRES_AT: now + _LIVES,
            **self._kept_for(attempt.user_id),
        }
        place = self._place(attempt)
        while True:
            if await self._answers.insert_unless_there({"_id": place, **ours}):
                return None
            found = await self._answers.find_one(place)
            if found is None:
                continue
            if not _is_over(found, now):
                return self._earlier(found, ours["request"])
            same = {"_id": place, "attempt": found["attempt"]}
            old = dict.fromkeys({"answer", USER} - ours.keys(), "")
            if await self._answers.update(same, {"$set": ours, "$unset": old}):
                return None

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        place = self._place(attempt)
        sealed = self._sealing.seal(answer, _label(place))
        ours = {"_id": place, "attempt": attempt.attempt_id}
        whose = self._kept_for(attempt.user_id or self._contents.made(attempt, answer))
        await self._answers.update(ours, {"$set": {"answer": sealed, **whose}})

    async def free(self, attempt: Attempt) -> None:
        await self._answers.delete({"_id": self._place(attempt), "attempt": attempt.attempt_id})

    async def forget(self, user_id: str) -> int:
        """Erase what is kept for a user; how many answers that were."""
        return await self._answers.delete_all(self._kept_for(user_id))

    def _kept_for(self, user_id: str) -> Document:
        return {USER: self._digest(b"user", user_id.encode())} if user_id else {}

    def _earlier(self, found: Document, request: str) -> Earlier:
        sealed = found.get("answer")
        answer = None if sealed is None else self._sealing.open(sealed, _label(found["_id"]))
        return Earlier(found["request"] == request, answer)

    def _place(self, attempt: Attempt) -> str:
        whose = attempt.user_id or self._contents.stranger(attempt)
        return self._digest(whose.encode(), attempt.method.encode(), attempt.key.encode())

    def _digest(self, *parts: bytes) -> str:
        return hmac.digest(self._reference, b"\0".join(parts), "sha256").hex()


def _label(place: str) -> str:
    return f"replay:{place}"


def _is_over(found: Document, now: datetime) -> bool:
    """The database removes what has expired only now and then."""
    died = "answer" not in found and found["until"] <= now
    return bool(died or found[EXPIRES_AT] <= now)
