"""The audit log: an entry stands before the change that it tells of."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from services.auth.domain.audit import Actor, AuditEntry
from services.auth.domain.errors import StorageUnavailable
from services.auth.domain.paging import Place, cut, place_in
from services.auth.ports import AuditEntries
from services.kernel.errors import ServiceError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Change:
    """What is about to be done."""

    action: str
    subject: str
    detail: Mapping[str, str]


class AuditLog:
    def __init__(self, entries: AuditEntries, new_id: Callable[[], UUID]) -> None:
        self._entries = entries
        self._new_id = new_id

    @asynccontextmanager
    async def recorded(self, actor: Actor, change: Change, now: datetime) -> AsyncIterator[None]:
        """Without an entry there is no change; a change that fails gets a second entry that says so."""
        entry_id = str(self._new_id())
        await self._write(entry_id, actor, change, now)
        try:
            yield
        except Exception as failure:
            cause = failure.reason if isinstance(failure, ServiceError) else "INTERNAL"
            came_to_nothing = Change(
                f"{change.action}_failed", change.subject, {"entry": entry_id, "cause": cause}
            )
            # The first failure is what the caller must hear of.
            with suppress(StorageUnavailable):
                # Of one moment, but listed behind the entry it is about.
                await self._write(f"{entry_id}-failed", actor, came_to_nothing, now)
            raise

    async def _write(self, entry_id: str, actor: Actor, change: Change, now: datetime) -> None:
        entry = AuditEntry(entry_id, now, actor, change.action, change.subject, change.detail)
        await self._entries.insert(entry)
        log.info("audit_entry_written", entry_id=entry.entry_id, action=entry.action, actor=actor.name)

    async def page(self, token: str, size: int) -> tuple[Sequence[AuditEntry], str]:
        """Raises PageTokenInvalid."""
        found = await self._entries.page(place_in(token), size + 1)
        return cut(found, size, lambda entry: Place(entry.at, entry.entry_id))
