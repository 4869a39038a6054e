"""Changes of documents that older releases wrote: each is made once and leaves a record.

Every document is changed by one conditional update that takes the old form away, so a migration may
be cut off, repeated, or run by many replicas at once. The record, written at the end, spares the
next start the search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from services.auth.domain.errors import StorageUnavailable
from services.auth.domain.old_settings import OLD_NAMES, renewed
from services.auth.mongo.collection import Collection, Document

log = structlog.get_logger()

SETTINGS_IN_PERCENT = "settings_in_percent"

_AT_ONCE = 100

# A document is lost only to another replica, or to its user's own change, which does not happen for ever.
_ROUNDS_WITHOUT_PROGRESS = 8


@dataclass(frozen=True, slots=True)
class Migrated:
    name: str
    done_at: datetime
    # By the run that wrote the record.
    documents: int


class Migrations:
    def __init__(self, users: Collection, records: Collection) -> None:
        self._users = users
        self._records = records

    async def run(self, now: datetime) -> list[Migrated]:
        """What is done by now: all of it. Raises StorageUnavailable."""
        if await self._records.find_one(SETTINGS_IN_PERCENT) is None:
            changed = await self._renew_settings()
            record = {"_id": SETTINGS_IN_PERCENT, "done_at": now, "documents": changed}
            if await self._records.insert_unless_there(record):
                log.info("documents_migrated", migration=SETTINGS_IN_PERCENT, documents=changed)
        return await self.done()

    async def done(self) -> list[Migrated]:
        found = await self._records.find_one(SETTINGS_IN_PERCENT)
        return [Migrated(found["_id"], found["done_at"], found["documents"])] if found else []

    async def _renew_settings(self) -> int:
        changed, fruitless = 0, 0
        while found := await self._users.find(_OLD, _AT_ONCE):
            renewals = sum([await self._renew(user) for user in found])
            changed += renewals
            fruitless = 0 if renewals else fruitless + 1
            if fruitless == _ROUNDS_WITHOUT_PROGRESS:
                raise StorageUnavailable("Documents of an old form cannot be changed.")
        return changed

    async def _renew(self, user: Document) -> bool:
        """False when the document changed meanwhile: it is looked at again."""
        kept = user.get("settings")
        settings: Mapping[str, Any] = kept if isinstance(kept, dict) else {}
        found = renewed(settings, user)
        for name in found.unreadable:
            log.warning("old_setting_unreadable", subject_id=str(user["_id"]), setting=name)
        where: Document = {"_id": user["_id"], **_still(user, settings)}
        if not isinstance(kept, dict):
            where["settings"] = _NO_DOCUMENT
            change: Document = {"$set": {"settings": dict(found.changes)}}
        else:
            change = {"$set": {f"settings.{name}": value for name, value in found.changes.items()}}
        change["$unset"] = {name: "" for name in OLD_NAMES if name in user}
        if isinstance(kept, dict):
            gone = [name for name in settings if name in OLD_NAMES or name in found.unreadable]
            change["$unset"].update({f"settings.{name}": "" for name in gone})
        return await self._users.update(where, {verb: fields for verb, fields in change.items() if fields})


def _still(user: Document, settings: Mapping[str, Any]) -> Document:
    """That the document has the form that was read: nobody renewed it, nobody chose a new value."""
    where: Document = {name: {"$exists": name in user} for name in OLD_NAMES}
    for old, (new, _) in OLD_NAMES.items():
        where[f"settings.{old}"] = {"$exists": old in settings}
        where[f"settings.{new}"] = settings.get(new, {"$exists": False})
    return where


_NO_DOCUMENT: Document = {"$not": {"$type": "object"}}

_OLD: Document = {
    "$or": [
        *({name: {"$exists": True}} for name in OLD_NAMES),
        *({f"settings.{name}": {"$exists": True}} for name in OLD_NAMES),
        {"settings": _NO_DOCUMENT},
    ]
}
