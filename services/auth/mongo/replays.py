"""Answers that may be asked for again: found by a keyed hash, and sealed, because some show a secret once."""

import hmac
from datetime import datetime, timedelta
from typing import Final, Protocol

from pymongo import IndexModel

from services.auth.mongo.collection import Collection, Document
from services.auth.vault import Seal, derived
from services.kernel.replay import Attempt, Earlier

INDEX_OF_ANSWERS: Final = IndexModel("expires_at", expireAfterSeconds=0, name="expires")
_LIVES: Final = timedelta(hours=24)
# Longer than any of these calls may take.
_UNDER_WAY: Final = timedelta(seconds=20)


class Clock(Protocol):
    def __call__(self) -> datetime: ...


class MongoReplays:
    """Implements the kernel's Replays."""

    def __init__(self, answers: Collection, key: bytes, now: Clock) -> None:
        self._answers = answers
        self._seal = Seal(key)
        self._reference = derived(key, "replay-reference")
        self._now = now

    async def claim(self, attempt: Attempt) -> Earlier | None:
        now = self._now()
        ours: Document = {
            "attempt": attempt.attempt_id,
            "request": self._request(attempt),
            "until": now + _UNDER_WAY,
            "expires_at": now + _LIVES,
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
            if await self._answers.update(same, {"$set": ours, "$unset": {"answer": ""}}):
                return None

    async def keep(self, attempt: Attempt, answer: bytes) -> None:
        place = self._place(attempt)
        sealed = self._seal.seal(answer, _label(place))
        ours = {"_id": place, "attempt": attempt.attempt_id}
        await self._answers.update(ours, {"$set": {"answer": sealed}})

    async def free(self, attempt: Attempt) -> None:
        await self._answers.delete({"_id": self._place(attempt), "attempt": attempt.attempt_id})

    def _earlier(self, found: Document, request: str) -> Earlier:
        sealed = found.get("answer")
        answer = None if sealed is None else self._seal.open(sealed, _label(found["_id"]))
        return Earlier(found["request"] == request, answer)

    def _place(self, attempt: Attempt) -> str:
        return self._digest(attempt.user_id.encode(), attempt.method.encode(), attempt.key.encode())

    def _request(self, attempt: Attempt) -> str:
        """A request may hold a password; without the key nobody can try which."""
        return self._digest(attempt.request)

    def _digest(self, *parts: bytes) -> str:
        return hmac.digest(self._reference, b"\0".join(parts), "sha256").hex()


def _label(place: str) -> str:
    return f"replay:{place}"


def _is_over(found: Document, now: datetime) -> bool:
    """The database removes what has expired only now and then."""
    died = "answer" not in found and found["until"] <= now
    return bool(died or found["expires_at"] <= now)
