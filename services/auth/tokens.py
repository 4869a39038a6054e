"""Access tokens: short-lived JWTs that the gateway verifies without a call."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import jwt

from services.auth.domain.accounts import ROLE_USER, User
from services.auth.domain.api_keys import ApiKey
from services.auth.keyring import KeyRing


class JwtAccessTokens:
    def __init__(self, keys: KeyRing, issuer: str, audience: str, new_id: Callable[[], UUID]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._new_id = new_id

    def mint(self, user: User, session_id: str, now: datetime, lives: timedelta) -> str:
        # One string: the gateway copies string claims only.
        who = {"sub": user.user_id, "sid": session_id, "roles": " ".join(user.roles)}
        return self._signed(who, now, lives)

    def mint_for_key(self, key: ApiKey, now: datetime, lives: timedelta) -> str:
        """Whatever its owner may do, a key acts as a plain user, within its scopes."""
        who = {"sub": key.user_id, "sid": key.key_id, "roles": ROLE_USER, "scope": " ".join(key.scopes)}
        return self._signed(who, now, lives)

    def _signed(self, who: Mapping[str, str], now: datetime, lives: timedelta) -> str:
        key = self._keys.signing(now)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            **who,
            "jti": str(self._new_id()),
            "iat": now,
            "nbf": now,
            "exp": now + lives,
        }
        # The explicit type keeps other tokens of the same keys from being taken for access tokens.
        return jwt.encode(claims, key.private, "EdDSA", headers={"kid": key.kid, "typ": "at+jwt"})
