"""Sessions: opening one, keeping it alive, ending it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import User
from services.auth.domain.errors import CredentialsInvalid, RefreshTokenInvalid, SessionEnded
from services.auth.domain.sessions import (
    Client,
    Presented,
    RefreshToken,
    Session,
    SessionCookie,
    judge,
    read_cookie,
)
from services.auth.ports import AccessTokens, RefreshTokens, Sessions, Users
from services.auth.usecases.credentials import Credentials
from services.kernel.caller import UserNotFound

log = structlog.get_logger()

LOGINS = Counter("auth_logins_total", "Logins that opened a session.")
REFRESHES = Counter("auth_refreshes_total", "Refresh tokens presented, by outcome.", ["outcome"])
COOKIES = Counter("auth_session_exchanges_total", "Session cookies presented, by outcome.", ["outcome"])


@dataclass(frozen=True, slots=True)
class Tokens:
    access: str
    refresh: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    user: User
    tokens: Tokens
    cookie: SessionCookie
    # How long the cookie is good for.
    lasts: timedelta


@dataclass(frozen=True, slots=True)
class Lifetimes:
    access: timedelta
    session: timedelta
    refresh_grace: timedelta


@dataclass(frozen=True, slots=True)
class TokenMakers:
    """`new_secret` gives 256 random bits as text; outside of tests it is `secrets.token_urlsafe`."""

    access: AccessTokens
    refresh: RefreshTokens
    lives: Lifetimes
    new_secret: Callable[[], str]


class Logins:
    def __init__(
        self,
        users: Users,
        sessions: Sessions,
        credentials: Credentials,
        makers: TokenMakers,
        new_id: Callable[[], UUID],
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._credentials = credentials
        self._makers = makers
        self._new_id = new_id

    async def login(self, name: str, password: str, client: Client, now: datetime) -> SignedIn:
        """Raises CredentialsInvalid, SignInSlowed."""
        user = await self._credentials.owner(name, password, client.address, now)
        lasts, secret = self._makers.lives.session, self._makers.new_secret()
        session, token = await self.open_session(user, now, lasts, client.agent, secret)
        if await self._signed_out_since(user):
            await self._sessions.revoke(session.session_id, "user_signed_out", now)
            raise CredentialsInvalid("The username or the password is wrong.")
        if user.seen_is_news(now):
            await self._users.note_seen(user.user_id, now)
        LOGINS.inc()
        log.info("user_logged_in", login_user_id=user.user_id, session_id=session.session_id)
        cookie = SessionCookie(session.session_id, secret)
        return SignedIn(user, self._tokens(user, session, token, now), cookie, lasts)

    async def _signed_out_since(self, read: User) -> bool:
        """All sessions may have been ended while this one's password was compared with the old one; from here
        on whoever ends them finds it."""
        try:
            user = await self._users.get(read.user_id)
        except UserNotFound:
            return True
        return user.disabled or user.signed_out_at != read.signed_out_at

    async def open_session(
        self, user: User, now: datetime, lives: timedelta, client: str = "", cookie_secret: str = ""
    ) -> tuple[Session, RefreshToken]:
        """Without a secret the session has no cookie."""
        session_id = str(self._new_id())
        token = self._makers.refresh.first(session_id)
        cookie = SessionCookie(session_id, cookie_secret).digest if cookie_secret else ""
        ends = now + lives
        session = Session(session_id, user.user_id, now, ends, token.digest, client=client, cookie=cookie)
        await self._sessions.add(session)
        return session, token

    async def refresh(self, text: str, now: datetime) -> Tokens:
        """Trade a token for the next pair; its second use ends the whole family.

        Within the grace, the second use gives the same successor once more.
        """
        token = self._makers.refresh.read(text)
        successor = self._makers.refresh.successor(token)
        session = await self._advanced(token, successor, now)
        user = await self._signed_in(session, now)
        if user is None:
            REFRESHES.labels("refused").inc()
            raise RefreshTokenInvalid("The session has ended.")
        REFRESHES.labels("succeeded").inc()
        return self._tokens(user, session, successor, now)

    async def admit(self, cookie: str, now: datetime) -> tuple[str, timedelta]:
        """A token for who shows a live session's cookie, and how long it lives. Raises SessionEnded."""
        shown = read_cookie(cookie)
        session = await self._sessions.get(shown.session_id) if shown else None
        user = None
        if shown and session and session.opened_by(shown) and session.live(now):
            user = await self._signed_in(session, now)
        if session is None or user is None:
            COOKIES.labels("refused").inc()
            raise SessionEnded("The session has ended.")
        if session.use_is_news(now):
            await self._sessions.note_use(session.session_id, now)
        COOKIES.labels("succeeded").inc()
        return self._access(user, session, now)

    async def _signed_in(self, session: Session, now: datetime) -> User | None:
        """Whose live session it is; None when they may not go on, and then it ends."""
        try:
            user = await self._users.get(session.user_id)
        except UserNotFound:
            return None
        if not user.disabled and session.outlives(user.signed_out_at):
            return user
        await self._sessions.revoke(session.session_id, "user_signed_out", now)
        return None

    async def _advanced(self, token: RefreshToken, successor: RefreshToken, now: datetime) -> Session:
        # A second look when another request with the same token was faster.
        for _ in range(2):
            session = await self._sessions.get(token.session_id)
            if session is None:
                break
            match judge(session, token.digest, now, self._makers.lives.refresh_grace):
                case Presented.CURRENT:
                    if await self._sessions.rotate(session.session_id, token.digest, successor.digest, now):
                        return session
                case Presented.JUST_ROTATED:
                    return session
                case Presented.REUSED:
                    await self._sessions.revoke(session.session_id, "refresh_token_reused", now)
                    log.warning("refresh_token_reused", session_id=session.session_id)
                    REFRESHES.labels("reused").inc()
                    raise RefreshTokenInvalid("The refresh token was used before; the session has ended.")
                case Presented.ENDED:
                    break
        REFRESHES.labels("refused").inc()
        raise RefreshTokenInvalid("The session has ended.")

    def _tokens(self, user: User, session: Session, refresh: RefreshToken, now: datetime) -> Tokens:
        access, lives = self._access(user, session, now)
        return Tokens(access, refresh.text, int(lives.total_seconds()))

    def _access(self, user: User, session: Session, now: datetime) -> tuple[str, timedelta]:
        """No access token outlives its session."""
        lives = min(self._makers.lives.access, session.expires_at - now)
        return self._makers.access.mint(user, session.session_id, now, lives), lives

    async def logout(self, session_id: str, now: datetime) -> None:
        if await self._sessions.revoke(session_id, "logout", now):
            log.info("session_ended", session_id=session_id)
