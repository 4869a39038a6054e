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
        entry_id = await self._write(actor, change, now)
        try:
            yield
        except Exception as failure:
            cause = failure.reason if isinstance(failure, ServiceError) else "INTERNAL"
            detail = {"entry": entry_id, "cause": cause}
            # The first failure is what the caller must hear of.
            with suppress(StorageUnavailable):
                await self._write(actor, Change(f"{change.action}_failed", change.subject, detail), now)
            raise

    async def _write(self, actor: Actor, change: Change, now: datetime) -> str:
        entry = AuditEntry(str(self._new_id()), now, actor, change.action, change.subject, change.detail)
        await self._entries.insert(entry)
        log.info("audit_entry_written", entry_id=entry.entry_id, action=entry.action, actor=actor.name)
        return entry.entry_id

    async def page(self, token: str, size: int) -> tuple[Sequence[AuditEntry], str]:
        """Raises PageTokenInvalid."""
        found = await self._entries.page(place_in(token), size + 1)
        return cut(found, size, lambda entry: Place(entry.at, entry.entry_id))
