"""Access tokens: short-lived JWTs that the gateway verifies without a call."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_encode

from services.auth.domain.accounts import User
from services.auth.ports import Keys, SealedKey
from services.auth.vault import Seal


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    private: Ed25519PrivateKey
    signs_from: datetime

    @property
    def x(self) -> str:
        """The public half as RFC 8037 writes it."""
        return base64url_encode(self.private.public_key().public_bytes_raw()).decode()


class KeyRing:
    """The signing keys, as of the last reload; the newest that may sign already does."""

    def __init__(self, keys: Keys, seal: Seal, new_id: Callable[[], UUID]) -> None:
        self._keys = keys
        self._seal = seal
        self._new_id = new_id
        self._known: tuple[SigningKey, ...] = ()

    async def open(self, now: datetime) -> None:
        """Load the keys; make the first one if there is none. Raises KeyFileUnusable."""
        await self.reload()
        if not self._known:
            private, kid = Ed25519PrivateKey.generate(), str(self._new_id())
            sealed = self._seal.seal(private.private_bytes_raw(), kid)
            # Lost to another process: its key is the first one.
            await self._keys.add(SealedKey(1, kid, sealed, now))
            await self.reload()

    async def reload(self) -> None:
        """Only keys not met before are opened: a key never changes."""
        known = {key.kid: key for key in self._known}
        self._known = tuple(known.get(each.kid) or self._opened(each) for each in await self._keys.all())

    def _opened(self, sealed: SealedKey) -> SigningKey:
        raw = self._seal.open(sealed.sealed, sealed.kid)
        return SigningKey(sealed.kid, Ed25519PrivateKey.from_private_bytes(raw), sealed.signs_from)

    @property
    def published(self) -> tuple[SigningKey, ...]:
        return self._known

    def signing(self, now: datetime) -> SigningKey:
        # The first key signs from the start, whatever the clocks of other processes say.
        ready = [key for key in self._known[1:] if key.signs_from <= now]
        return (ready or [self._known[0]])[-1]


class JwtAccessTokens:
    def __init__(self, keys: KeyRing, issuer: str, audience: str, new_id: Callable[[], UUID]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._new_id = new_id

    def mint(self, user: User, session_id: str, now: datetime, lives: timedelta) -> str:
        key = self._keys.signing(now)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": user.user_id,
            "sid": session_id,
            "jti": str(self._new_id()),
            # One string: the gateway copies string claims only.
            "roles": " ".join(user.roles),
            "iat": now,
            "nbf": now,
            "exp": now + lives,
        }
        # The explicit type keeps other tokens of the same keys from being taken for access tokens.
        return jwt.encode(claims, key.private, "EdDSA", headers={"kid": key.kid, "typ": "at+jwt"})
