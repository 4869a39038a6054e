"""Users that older releases wrote.

Every document is changed by one conditional update that takes the old form away, so this may be cut off,
repeated, or run by many replicas at once.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from services.auth.domain.errors import StorageUnavailable
from services.auth.domain.old_settings import OLD_NAMES, renewed
from services.auth.mongo.collection import Collection, Document

log = structlog.get_logger()

_AT_ONCE = 100

# A document is lost only to another replica, or to its user's own change, which does not happen for ever.
_ROUNDS_WITHOUT_PROGRESS = 8


async def note_seen(users: Collection, now: datetime) -> int:
    """Releases before it was noted: nobody is erased for time in which nobody looked."""
    return await users.update_all({"seen_at": {"$exists": False}}, {"$set": {"seen_at": now}})


async def renew_settings(users: Collection) -> int:
    """How many users' settings were renewed. Raises StorageUnavailable."""
    changed, fruitless = 0, 0
    while found := await users.find(_OLD, _AT_ONCE):
        renewals = sum([await _renew(users, user) for user in found])
        changed += renewals
        fruitless = 0 if renewals else fruitless + 1
        if fruitless == _ROUNDS_WITHOUT_PROGRESS:
            raise StorageUnavailable("Documents of an old form cannot be changed.")
    return changed


async def _renew(users: Collection, user: Document) -> bool:
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
    return await users.update(where, {verb: fields for verb, fields in change.items() if fields})


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
