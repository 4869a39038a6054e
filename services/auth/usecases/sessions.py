"""What users may do with their sessions: see them, end one, end all."""

from datetime import datetime

import structlog

from services.auth.domain.errors import SessionNotFound
from services.auth.domain.sessions import Session
from services.auth.ports import Sessions, Users

log = structlog.get_logger()

# The newest; more than anybody has devices.
SHOWN = 100


async def live_sessions(users: Users, sessions: Sessions, user_id: str, now: datetime) -> list[Session]:
    """Newest first."""
    user = await users.get(user_id)
    found = await sessions.of(user_id, now, SHOWN)
    return [session for session in found if session.outlives(user.signed_out_at)]


async def end_session(sessions: Sessions, user_id: str, session_id: str, now: datetime) -> None:
    """Raises SessionNotFound, for sessions of others exactly as for those that ended or never were."""
    session = await sessions.get(session_id)
    if session is None or session.user_id != user_id or not session.live(now):
        raise SessionNotFound("There is no such session.")
    await sessions.revoke(session_id, "ended_by_user", now)
    log.info("session_ended", session_id=session_id)


async def end_all_sessions(users: Users, sessions: Sessions, user_id: str, now: datetime) -> None:
    """Also a login that began before this and has not finished.

    API keys stay: they are servers', who cannot log in again.
    """
    await users.sign_out(user_id, now)
    ended = await sessions.revoke_all(user_id, "ended_by_user", now)
    log.info("all_sessions_ended", count=ended)
