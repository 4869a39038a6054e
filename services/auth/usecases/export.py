"""All that is kept about a user, in one piece that people and programs can read."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from services.auth.domain.api_keys import ApiKey
from services.auth.domain.audit import Actor
from services.auth.domain.credits import Entry, turns_at
from services.auth.domain.sessions import Session
from services.auth.ports import ApiKeys, Recordings, Sessions, Statement, Users, VoiceOf
from services.auth.usecases.audit import AuditLog, Change
from services.auth.usecases.credits import Account, Credits
from services.auth.usecases.sessions import live_sessions
from services.auth.usecases.statement import statement

# Of recordings, and of credit entries: what one answer holds. The lists have them all.
MOST = 5000
_PAGE = 100

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    account: Json
    settings: Json
    voice: Json
    recordings: Sequence[Json]
    credits: Sequence[Json]
    sessions: Sequence[Json]
    api_keys: Sequence[Json]
    # False when there were more than MOST.
    complete: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """Where something is kept about a user."""

    users: Users
    credits: Credits
    entries: Statement
    sessions: Sessions
    api_keys: ApiKeys
    voices: VoiceOf
    recordings: Recordings


class Exports:
    def __init__(self, kept: Kept, audit: AuditLog) -> None:
        self._kept = kept
        self._audit = audit

    async def export(self, actor: Actor, user_id: str, now: datetime) -> Export:
        """Whole or not at all: when a service is down, the export fails. Raises UserNotFound."""
        if actor.name == user_id:
            return await self._export(user_id, now)
        async with self._audit.recorded(actor, Change("account_exported", user_id, {}), now):
            return await self._export(user_id, now)

    async def _export(self, user_id: str, now: datetime) -> Export:
        account = await self._kept.credits.account(user_id, now)
        voice, (recordings, all_recordings), (entries, all_entries) = await asyncio.gather(
            self._kept.voices.voice_of(user_id), self._recordings(user_id), self._entries(user_id, now)
        )
        sessions = await live_sessions(self._kept.users, self._kept.sessions, user_id, now)
        keys = await self._kept.api_keys.of_user(user_id, now)
        source = {"source": f"/v1/users/{user_id}/voice/source.mp3"} if "sample" in voice else {}
        return Export(
            account=_account(account, now),
            settings=asdict(account.user.preferences),
            voice={**voice, **source},
            recordings=[{**each, "audio": f"/v1/recordings/{each['id']}/audio"} for each in recordings],
            credits=[_entry(each) for each in entries],
            sessions=[_session(each) for each in sessions],
            api_keys=[_api_key(each) for each in keys],
            complete=all_recordings and all_entries,
        )

    async def _recordings(self, user_id: str) -> tuple[list[Json], bool]:
        found, token = await self._kept.recordings.recordings_of(user_id, "")
        while token and len(found) < MOST:
            page, token = await self._kept.recordings.recordings_of(user_id, token)
            found += page
        return found, not token

    async def _entries(self, user_id: str, now: datetime) -> tuple[list[Entry], bool]:
        page, token = await statement(self._kept.entries, user_id, "", _PAGE, now)
        found = list(page)
        while token and len(found) < MOST:
            page, token = await statement(self._kept.entries, user_id, token, _PAGE, now)
            found += page
        return found, not token


def _account(account: Account, now: datetime) -> Json:
    user, balance = account.user, account.balance
    return {
        "user_id": user.user_id,
        "username": user.username,
        "email": user.email,
        "roles": list(user.roles),
        "created_at": _written(user.created_at),
        "seen_at": _written(user.seen_at),
        "disabled": user.disabled,
        "plan": user.plan or "",
        "activation_code": user.activation_code or "",
        "char_count": balance.used,
        "reserved_chars": balance.reserved,
        "monthly_limit": account.limit,
        "resets_at": _written(turns_at(now)),
    }


def _entry(entry: Entry) -> Json:
    return {
        "id": entry.shown_id,
        "period": entry.period,
        "state": entry.state.value,
        "credits": entry.credits,
        "model": entry.model,
        "reason": entry.reason,
        "at": _written(entry.at),
    }


def _session(session: Session) -> Json:
    return {
        "id": session.session_id,
        "created_at": _written(session.created_at),
        "last_used_at": _written(session.last_used_at),
        "expires_at": _written(session.expires_at),
        "client": session.client,
    }


def _api_key(key: ApiKey) -> Json:
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": _written(key.created_at),
        "expires_at": _written(key.expires_at),
        "last_used_at": _written(key.last_used_at),
        "prefix": key.shown,
    }


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
