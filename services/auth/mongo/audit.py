"""The audit log. Entries can be added and read; nothing here changes or removes one."""

from pymongo import IndexModel

from services.auth.domain.audit import Actor, AuditEntry
from services.auth.domain.paging import Place
from services.auth.mongo.collection import Collection, Document
from services.auth.mongo.paging import index_of, later_than, order_of


class MongoAudit:
    def __init__(self, entries: Collection) -> None:
        self._entries = entries

    async def prepare(self) -> None:
        await self._entries.create_indexes(
            index_of("at", "newest_first"),
            IndexModel("subject", name="subject"),
            IndexModel("actor", name="actor"),
        )

    async def insert(self, entry: AuditEntry) -> None:
        await self._entries.insert(
            {
                "_id": entry.entry_id,
                "at": entry.at,
                "actor": entry.actor.name,
                "action": entry.action,
                "subject": entry.subject,
                "detail": dict(entry.detail),
                "request_id": entry.actor.request_id,
            }
        )

    async def page(self, after: Place | None, limit: int) -> list[AuditEntry]:
        found = await self._entries.find(later_than("at", after), limit, sort=order_of("at"))
        return [_entry(each) for each in found]


def _entry(found: Document) -> AuditEntry:
    return AuditEntry(
        entry_id=found["_id"],
        at=found["at"],
        actor=Actor(found["actor"], found["request_id"]),
        action=found["action"],
        subject=found["subject"],
        detail=found["detail"],
    )
