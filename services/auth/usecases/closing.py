"""Asking for an account to be erased: one's own, or as an administrator somebody else's."""

from dataclasses import dataclass
from datetime import datetime

from services.auth.domain.audit import Actor
from services.auth.domain.erasure import AskedBy, Erasure
from services.auth.domain.errors import StorageUnavailable
from services.auth.ports import Users
from services.auth.usecases.administration import Administration
from services.auth.usecases.audit import AuditLog, Change
from services.auth.usecases.credentials import Credentials
from services.auth.usecases.erasure import Erasures

# Within the route's deadline, with one more call of a peer.
_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, with their own password."""

    actor: Actor
    password: str
    # Empty when unknown.
    address: str


class Closings:
    def __init__(
        self,
        users: Users,
        credentials: Credentials,
        administration: Administration,
        audit: AuditLog,
        erasures: Erasures,
    ) -> None:
        self._users = users
        self._administration = administration
        self._credentials = credentials
        self._audit = audit
        self._erasures = erasures

    async def close(self, asker: Asker, user_id: str, now: datetime) -> Erasure:
        """Raises CredentialsInvalid, SignInSlowed, UserNotFound, LastAdmin, StorageUnavailable."""
        known, own = await self._erasures.of(user_id), asker.actor.name == user_id
        if known is not None and own:
            # There is no password left to compare with; the answer tells nothing but this.
            return known
        name = (await self._users.get(asker.actor.name)).username
        await self._credentials.owner(name, asker.password, asker.address, now)
        if known is not None:
            return known
        await self._administration.step_down(asker.actor, user_id, now)
        erasure = await self._begin(asker.actor, user_id, now)
        if not erasure.closed:
            raise StorageUnavailable("The account could not be closed yet.")
        return erasure

    async def _begin(self, actor: Actor, user_id: str, now: datetime) -> Erasure:
        if actor.name == user_id:
            return await self._erasures.begin(user_id, AskedBy.USER, now, _SECONDS)
        async with self._audit.recorded(actor, Change("account_erased", user_id, {}), now):
            return await self._erasures.begin(user_id, AskedBy.ADMINISTRATOR, now, _SECONDS)
