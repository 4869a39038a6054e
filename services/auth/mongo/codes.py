"""Activation codes.

A registration first claims its code here, then adds its user under a unique index on the code,
then marks the code as used. A crash after the claim leaves a claim that ends by itself; a crash
after the user was added leaves a code that looks free, but the unique index refuses a second user.

A password reset spends its code for its user first, and changes the password together with a note
of the code then: asked again after a crash in between, it goes on; after both, it is refused.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pymongo import IndexModel

from services.auth.domain.accounts import ActivationCode
from services.auth.domain.codes import CodeRecord, CodeState, CodeUse
from services.auth.domain.errors import ActivationCodeNotFound, ActivationCodeSpent, CodeBatchNotFound
from services.auth.domain.paging import Place
from services.auth.mongo.collection import Collection, Document
from services.auth.mongo.paging import index_of, later_than, order_of

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER_ENDING = datetime(9999, 1, 1, tzinfo=UTC)

# As many as one call may make.
_LARGEST_BATCH = 1000


class MongoCodes:
    def __init__(self, codes: Collection) -> None:
        self._codes = codes

    async def prepare(self) -> None:
        await self._codes.create_indexes(
            index_of("made_at", "newest_first"),
            IndexModel("batch_id", name="batch", sparse=True),
            IndexModel("used_by", name="used_by", sparse=True),
            IndexModel("made_by", name="made_by"),
        )

    async def add(self, codes: Sequence[ActivationCode], made_by: str, now: datetime) -> None:
        await self._codes.insert(
            *(
                {
                    "_id": each.code,
                    "batch_id": each.batch_id,
                    "state": CodeState.UNUSED.value,
                    "made_by": made_by,
                    "made_at": now,
                    "expires_at": each.expires_at,
                    "claimed_until": _NEVER,
                }
                for each in codes
            )
        )

    async def claimable(self, code: str, now: datetime) -> bool:
        found = await self._codes.find_one(code, "state", "expires_at", "claimed_until")
        return (
            found is not None
            and found["state"] == CodeState.UNUSED
            and found["expires_at"] > now
            and found["claimed_until"] <= now
        )

    async def claim(self, code: str, claimant: str, now: datetime, until: datetime) -> bool:
        change = {"$set": {"claimed_by": claimant, "claimed_until": until}}
        return await self._codes.update(_free(code, now), change)

    async def give_back(self, code: str, claimant: str, now: datetime) -> None:
        own = {"_id": code, "state": CodeState.UNUSED.value, "claimed_by": claimant}
        await self._codes.update(own, {"$set": {"claimed_until": _NEVER}})

    async def mark_used(self, code: str, user_id: str, now: datetime) -> None:
        # Whoever holds a claim or revoked the code meanwhile: the user exists, and that decides.
        unmarked = {"_id": code, "state": {"$ne": CodeState.USED.value}}
        await self._codes.update(unmarked, {"$set": _use(user_id, CodeUse.REGISTRATION, now)})

    async def spend(self, code: str, user_id: str | None, now: datetime) -> bool:
        # No code lives as long as that: nobody spends none, with the same two questions.
        moment = now if user_id is not None else _NEVER_ENDING
        use = _use(user_id or "", CodeUse.PASSWORD_RESET, now)
        if await self._codes.update(_free(code, moment), {"$set": use}):
            return True
        found = await self._codes.find_one(code, "used_by", "used_for")
        earlier = (user_id, CodeUse.PASSWORD_RESET.value)
        return found is not None and (found.get("used_by"), found.get("used_for")) == earlier

    async def page(self, after: Place | None, limit: int) -> list[CodeRecord]:
        found = await self._codes.find(later_than("made_at", after), limit, sort=order_of("made_at"))
        return [_record(each) for each in found]

    async def batch(self, batch_id: str) -> list[CodeRecord]:
        found = await self._codes.find({"batch_id": batch_id}, _LARGEST_BATCH, sort=[("_id", 1)])
        if not found:
            raise CodeBatchNotFound("There is no such batch of activation codes.")
        return [_record(each) for each in found]

    async def revoke(self, code: str, now: datetime) -> None:
        # A claim holds the code for a registration that is under way.
        revocable = {"_id": code, "state": CodeState.UNUSED.value, "claimed_until": {"$lte": now}}
        change = {"state": CodeState.REVOKED.value, "revoked_at": now}
        if await self._codes.update(revocable, {"$set": change}):
            return
        found = await self._codes.find_one(code, "state")
        if found is None:
            raise ActivationCodeNotFound("There is no such activation code.")
        if found["state"] != CodeState.REVOKED:
            raise ActivationCodeSpent("The activation code has been used.")


def _use(user_id: str, use: CodeUse, now: datetime) -> Document:
    return {"state": CodeState.USED.value, "used_by": user_id, "used_for": use.value, "used_at": now}


def _free(code: str, now: datetime) -> Mapping[str, Any]:
    return {
        "_id": code,
        "state": CodeState.UNUSED.value,
        "expires_at": {"$gt": now},
        "claimed_until": {"$lte": now},
    }


def _record(found: Document) -> CodeRecord:
    use = found.get("used_for")
    return CodeRecord(
        code=found["_id"],
        batch_id=found.get("batch_id", ""),
        created_at=found["made_at"],
        expires_at=found["expires_at"],
        made_by=found["made_by"],
        kept_state=CodeState(found["state"]),
        used_by=found.get("used_by", ""),
        used_for=CodeUse(use) if use else None,
        used_at=found.get("used_at"),
    )
