"""What administrators do to accounts: each change stands in the audit log before it is made."""

from dataclasses import dataclass
from datetime import datetime

import structlog

from services.auth.domain.accounts import ROLE_OPERATOR, ROLE_USER, User
from services.auth.domain.administration import UserChanges, administers
from services.auth.domain.audit import Actor
from services.auth.domain.credits import Adjustment
from services.auth.domain.errors import ApiKeyNotFound, LastAdmin
from services.auth.domain.paging import Place, cut, place_in
from services.auth.ports import ApiKeys, Sessions, Users
from services.auth.usecases.audit import AuditLog, Change
from services.auth.usecases.credits import Account, Credits

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subjects:
    """What administrators act on."""

    users: Users
    sessions: Sessions
    api_keys: ApiKeys
    credits: Credits


class Administration:
    def __init__(self, subjects: Subjects, audit: AuditLog) -> None:
        self._on = subjects
        self._audit = audit

    async def users(self, token: str, size: int, now: datetime) -> tuple[list[Account], str]:
        """Raises PageTokenInvalid."""
        found = await self._on.users.page(place_in(token), size + 1)
        page, following = cut(found, size, lambda user: Place(user.created_at, user.user_id))
        return await self._on.credits.accounts(page, now), following

    async def user_named(self, name: str, now: datetime) -> list[Account]:
        """The one with this username or email, or none."""
        user = await self._on.users.named(name)
        return await self._on.credits.accounts([user] if user else [], now)

    async def update_user(self, actor: Actor, user_id: str, changes: UserChanges, now: datetime) -> Account:
        """Raises UserNotFound, PlanUnknown, LastAdmin."""
        if changes.plan is not None:
            self._on.credits.require_plan(changes.plan)
        after = await self._changed(actor, await self._on.users.get(user_id), changes, now)
        if after.disabled:
            # Also when nothing changed: an earlier call may have died in between.
            await self._on.users.sign_out(user_id, now)
            ended = await self._on.sessions.revoke_all(user_id, "user_disabled", now)
            log.info("sessions_ended", subject_id=user_id, sessions=ended)
        return await self._on.credits.account(user_id, now)

    async def step_down(self, actor: Actor, user_id: str, now: datetime) -> None:
        """Who administers, and is about to be erased, ceases to administer first: an erasure cannot be undone
        when it turns out that nobody is left. Raises UserNotFound, LastAdmin.

        An operator is left until then: no activation code opens that account.
        """
        user = await self._on.users.get(user_id)
        if administers(user):
            await self._changed(actor, user, UserChanges(roles=(ROLE_USER, ROLE_OPERATOR)), now)

    async def _changed(self, actor: Actor, before: User, changes: UserChanges, now: datetime) -> User:
        after = changes.applied_to(before)
        if administers(before) and not administers(after):
            await self._require_another(before)
        if after != before:
            change = Change("user_updated", before.user_id, changes.told_of(before))
            async with self._audit.recorded(actor, change, now):
                await self._change(before, after, changes)
        return after

    async def _change(self, before: User, after: User, changes: UserChanges) -> None:
        await self._on.users.change(before.user_id, changes)
        if administers(before) and not administers(after):
            try:
                # Two administrators may have removed each other at once: whoever sees none left goes back.
                await self._require_another(before)
            except LastAdmin:
                await self._on.users.change(before.user_id, changes.undone(before))
                raise

    async def _require_another(self, leaving: User) -> None:
        found = await self._on.users.administrators(2)
        if not any(user.user_id != leaving.user_id for user in found):
            raise LastAdmin("This is the last administrator.")

    async def adjust_credits(self, actor: Actor, user_id: str, wanted: Adjustment, now: datetime) -> Account:
        """Raises UserNotFound, CreditsSpent, AdjustmentIdReused."""
        user = await self._on.users.get(user_id)
        # Asked again, it is not done again, and is no second entry.
        made = await self._on.credits.adjusted_before(user, wanted, now)
        if made is not None:
            return made
        told = {"amount": str(wanted.amount), "reason": wanted.reason, "id": wanted.adjustment_id}
        change = Change("credits_adjusted", user.user_id, told)
        async with self._audit.recorded(actor, change, now):
            return await self._on.credits.adjust(user, wanted, now)

    async def delete_api_key(self, actor: Actor, key_id: str, now: datetime) -> None:
        """Raises ApiKeyNotFound."""
        key = await self._on.api_keys.get(key_id)
        if key is None:
            raise ApiKeyNotFound("There is no such API key.")
        change = Change("api_key_deleted", key.user_id, {"key_id": key_id})
        async with self._audit.recorded(actor, change, now):
            await self._on.api_keys.delete(key_id)
