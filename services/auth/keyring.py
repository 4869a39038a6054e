"""The keys that sign access tokens, one after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_encode

from services.auth.domain.errors import SigningKeyWaiting
from services.auth.domain.signing_keys import KeyState, KeyTerm, KeyTimes, ends_at, signing, state
from services.auth.ports import Keys, SealedKey
from services.auth.vault import Seal

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SigningKey:
    term: KeyTerm
    private: Ed25519PrivateKey

    @property
    def kid(self) -> str:
        return self.term.kid

    @property
    def x(self) -> str:
        """The public half as RFC 8037 writes it."""
        return base64url_encode(self.private.public_key().public_bytes_raw()).decode()


@dataclass(frozen=True, slots=True)
class KeyStanding:
    """What an operator wants to know of a key."""

    kid: str
    state: KeyState
    signs_from: datetime
    # Absent as long as no newer key is there.
    ends_at: datetime | None


class KeyRing:
    """The signing keys, as of the last reload; the newest that may sign already does."""

    def __init__(self, keys: Keys, seal: Seal, times: KeyTimes, new_id: Callable[[], UUID]) -> None:
        self._keys = keys
        self._seal = seal
        self._times = times
        self._new_id = new_id
        self._known: tuple[SigningKey, ...] = ()

    async def open(self, now: datetime) -> None:
        """Load the keys; make the first one if there is none. Raises KeyFileUnusable."""
        await self.reload()
        if not self._known:
            # Lost to another process: its key is the first one.
            await self._keys.add(self._made(1, now))
            await self.reload()

    async def reload(self) -> None:
        """Only keys not met before are opened: the secret of a key never changes."""
        known = {key.kid: key.private for key in self._known}
        self._known = tuple(
            SigningKey(each.term, known.get(each.term.kid) or self._opened(each))
            for each in await self._keys.all()
        )

    async def rotate(self, now: datetime) -> KeyStanding:
        """Publish a new key, which signs when all verifiers know it. Raises SigningKeyWaiting."""
        await self.reload()
        newest = self._known[-1].term
        if newest != signing(self._terms, now):
            raise SigningKeyWaiting("A new key waits already for its first signature.")
        made = self._made(newest.generation + 1, now + self._times.publish)
        if not await self._keys.add(made):
            raise SigningKeyWaiting("Another rotation was faster.")
        await self.reload()
        log.info("signing_key_published", kid=made.term.kid, signs_from=made.term.signs_from.isoformat())
        return self._standing(made.term, now)

    async def drop_ended(self, now: datetime) -> None:
        """Forget the keys whose last token has ended; their secrets are gone."""
        await self.reload()
        for term in self._terms:
            if state(term, self._terms, self._times, now) is KeyState.ENDED:
                await self._keys.drop(term.generation)
                log.info("signing_key_dropped", kid=term.kid)
        await self.reload()

    async def keep_until(self, moment: datetime, now: datetime) -> None:
        """Say before signing that a token will outlive common ones."""
        await self._keys.keep_until(self.signing(now).term.generation, moment)

    def standings(self, now: datetime) -> list[KeyStanding]:
        """Oldest first."""
        return [self._standing(term, now) for term in self._terms]

    def published(self, now: datetime) -> tuple[SigningKey, ...]:
        return tuple(
            key for key in self._known if state(key.term, self._terms, self._times, now) is not KeyState.ENDED
        )

    def signing(self, now: datetime) -> SigningKey:
        current = signing(self._terms, now)
        return next(key for key in self._known if key.term == current)

    @property
    def _terms(self) -> list[KeyTerm]:
        return [key.term for key in self._known]

    def _standing(self, term: KeyTerm, now: datetime) -> KeyStanding:
        return KeyStanding(
            kid=term.kid,
            state=state(term, self._terms, self._times, now),
            signs_from=term.signs_from,
            ends_at=ends_at(term, self._terms, self._times),
        )

    def _made(self, generation: int, signs_from: datetime) -> SealedKey:
        term = KeyTerm(generation, str(self._new_id()), signs_from)
        return SealedKey(term, self._seal.seal(Ed25519PrivateKey.generate().private_bytes_raw(), term.kid))

    def _opened(self, sealed: SealedKey) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._seal.open(sealed.sealed, sealed.term.kid))
