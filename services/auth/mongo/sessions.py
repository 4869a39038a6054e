"""Sessions: one document for each login; its refresh tokens only as SHA-256."""

from datetime import datetime

from pymongo import DESCENDING, IndexModel

from services.auth.domain.sessions import Session
from services.auth.mongo.collection import Collection, Document


class MongoSessions:
    def __init__(self, sessions: Collection) -> None:
        self._sessions = sessions

    async def prepare(self) -> None:
        await self._sessions.create_indexes(
            IndexModel("user_id", name="user"),
            IndexModel("expires_at", expireAfterSeconds=0, name="ended"),
        )

    async def add(self, session: Session) -> None:
        await self._sessions.insert(
            {
                "_id": session.session_id,
                "user_id": session.user_id,
                "created_at": session.created_at,
                "expires_at": session.expires_at,
                "current": session.current,
                "previous": session.previous,
                "rotated_at": session.rotated_at,
                "revoked_at": session.revoked_at,
                "client": session.client,
                "cookie": session.cookie,
                "seen_at": session.seen_at,
            }
        )

    async def get(self, session_id: str) -> Session | None:
        found = await self._sessions.find_one(session_id)
        return _session(found) if found else None

    async def of(self, user_id: str, now: datetime, limit: int) -> list[Session]:
        live = {"user_id": user_id, "revoked_at": None, "expires_at": {"$gt": now}}
        found = await self._sessions.find(live, limit, sort=[("created_at", DESCENDING)])
        return [_session(each) for each in found]

    async def rotate(self, session_id: str, old: str, new: str, now: datetime) -> bool:
        return await self._sessions.update(
            {"_id": session_id, "current": old, "revoked_at": None},
            {"$set": {"current": new, "previous": old, "rotated_at": now}},
        )

    async def note_use(self, session_id: str, now: datetime) -> None:
        await self._sessions.update({"_id": session_id}, {"$set": {"seen_at": now}})

    async def revoke(self, session_id: str, why: str, now: datetime) -> bool:
        return await self._sessions.update(
            {"_id": session_id, "revoked_at": None}, {"$set": {"revoked_at": now, "revoked_for": why}}
        )

    async def revoke_all(self, user_id: str, why: str, now: datetime) -> int:
        live = {"user_id": user_id, "revoked_at": None}
        return await self._sessions.update_all(live, {"$set": {"revoked_at": now, "revoked_for": why}})


def _session(found: Document) -> Session:
    return Session(
        session_id=found["_id"],
        user_id=found["user_id"],
        created_at=found["created_at"],
        expires_at=found["expires_at"],
        current=found["current"],
        previous=found["previous"],
        rotated_at=found["rotated_at"],
        revoked_at=found["revoked_at"],
        client=found.get("client", ""),
        cookie=found.get("cookie", ""),
        seen_at=found.get("seen_at"),
    )
