"""API keys: made once, shown once, traded for short access tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.auth.domain.accounts import User
from services.auth.domain.api_keys import PREFIX, SHOWN_CHARACTERS, ApiKey, digest_of, scopes_of
from services.auth.domain.errors import ApiKeyInvalid, ApiKeyNotFound, SessionEnded
from services.auth.domain.paging import Place, cut, place_in
from services.auth.ports import ApiKeys, ApiKeyTokens, Sessions, Users
from services.kernel.caller import UserNotFound

log = structlog.get_logger()

EXCHANGES = Counter("auth_api_key_exchanges_total", "API keys presented, by outcome.", ["outcome"])


@dataclass(frozen=True, slots=True)
class WantedKey:
    name: str
    scopes: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Owners:
    """Who makes keys, and in which session."""

    users: Users
    sessions: Sessions


class KeyAccess:
    """`new_secret` gives 256 random bits as text; outside of tests it is `secrets.token_urlsafe`."""

    def __init__(
        self,
        owners: Owners,
        keys: ApiKeys,
        tokens: ApiKeyTokens,
        new_id: Callable[[], UUID],
        new_secret: Callable[[], str],
    ) -> None:
        self._owners = owners
        self._keys = keys
        self._tokens = tokens
        self._new_id = new_id
        self._new_secret = new_secret

    async def create(
        self, user_id: str, wanted: WantedKey, now: datetime, session_id: str = ""
    ) -> tuple[ApiKey, str]:
        """The key and its text, which nobody can read again. Raises ApiKeysExhausted, SessionEnded.

        A token is good for a while after its session has ended; nobody may make of it a key that lasts.
        """
        user = await self._owners.users.get(user_id)
        if session_id and not await self._lives(session_id, user, now):
            raise SessionEnded("The session has ended.")
        text = PREFIX + self._new_secret()
        key = ApiKey(
            key_id=str(self._new_id()),
            user_id=user.user_id,
            name=wanted.name,
            scopes=scopes_of(wanted.scopes),
            created_at=now,
            expires_at=wanted.expires_at,
            shown=text[:SHOWN_CHARACTERS],
            digest=digest_of(text),
        )
        await self._keys.add(key, now)
        log.info("api_key_created", key_id=key.key_id, scopes=key.scopes)
        return key, text

    async def _lives(self, session_id: str, user: User, now: datetime) -> bool:
        session = await self._owners.sessions.get(session_id)
        return session is not None and session.live(now) and session.outlives(user.signed_out_at)

    async def list(self, user_id: str, now: datetime) -> list[ApiKey]:
        """All of them, newest first: there are few."""
        return await self._keys.of_user(user_id, now)

    async def page(self, user_id: str, token: str, size: int, now: datetime) -> tuple[Sequence[ApiKey], str]:
        """Newest first, with the token of the next page. Raises PageTokenInvalid."""
        last = place_in(token)
        keys = await self._keys.of_user(user_id, now)
        left = [key for key in keys if last is None or _order(_place(key)) < _order(last)]
        return cut(left, size, _place)

    async def delete(self, user_id: str, key_id: str) -> None:
        """Raises ApiKeyNotFound, also for another user's key."""
        key = await self._keys.get(key_id)
        if key is None or key.user_id != user_id or not await self._keys.delete(key_id):
            raise ApiKeyNotFound("There is no such API key.")
        log.info("api_key_deleted", key_id=key_id)

    async def exchange(self, text: str, now: datetime) -> tuple[str, timedelta]:
        """A token with the key's scopes, and how long it lives. Raises ApiKeyInvalid."""
        key = await self._keys.by_digest(digest_of(text))
        if key is None or not key.good_at(now) or not await self._owner_honours(key):
            EXCHANGES.labels("refused").inc()
            log.info("api_key_refused", key_id=key.key_id if key else "")
            raise ApiKeyInvalid("The API key is not valid.")
        if key.use_is_news(now):
            await self._keys.note_use(key.key_id, now)
        EXCHANGES.labels("succeeded").inc()
        log.info("api_key_exchanged", key_id=key.key_id, key_user_id=key.user_id)
        lives = key.token_lives(now)
        return self._tokens.mint_for_key(key, now, lives), lives

    async def _owner_honours(self, key: ApiKey) -> bool:
        try:
            return (await self._owners.users.get(key.user_id)).honours_keys_of(key.created_at)
        except UserNotFound:
            return False


def _place(key: ApiKey) -> Place:
    return Place(key.created_at, key.key_id)


def _order(place: Place) -> tuple[datetime, str]:
    return place.at, place.thing_id
