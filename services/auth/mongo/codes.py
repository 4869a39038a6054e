"""Activation codes.

A registration first claims its code here, then adds its user under a unique index on the code,
then marks the code as used. A crash after the claim leaves a claim that ends by itself; a crash
after the user was added leaves a code that looks free, but the unique index refuses a second user.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from services.auth.domain.accounts import ActivationCode
from services.auth.mongo.collection import Collection

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class MongoCodes:
    def __init__(self, codes: Collection) -> None:
        self._codes = codes

    async def add(self, codes: Sequence[ActivationCode], made_by: str, now: datetime) -> None:
        await self._codes.insert(
            *(
                {
                    "_id": each.code,
                    "state": "unused",
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
            and found["state"] == "unused"
            and found["expires_at"] > now
            and found["claimed_until"] <= now
        )

    async def claim(self, code: str, claimant: str, now: datetime, until: datetime) -> bool:
        free: Mapping[str, Any] = {
            "_id": code,
            "state": "unused",
            "expires_at": {"$gt": now},
            "claimed_until": {"$lte": now},
        }
        return await self._codes.update(free, {"$set": {"claimed_by": claimant, "claimed_until": until}})

    async def give_back(self, code: str, claimant: str, now: datetime) -> None:
        own = {"_id": code, "state": "unused", "claimed_by": claimant}
        await self._codes.update(own, {"$set": {"claimed_until": _NEVER}})

    async def mark_used(self, code: str, user_id: str, now: datetime) -> None:
        # Whoever holds a claim meanwhile: the user exists, and that decides.
        unused = {"_id": code, "state": "unused"}
        await self._codes.update(unused, {"$set": {"state": "used", "used_by": user_id, "used_at": now}})
