"""How entries of the credit ledger are written down, in a month and in the archive alike."""

from services.auth.domain.credits import Entry, State
from services.auth.mongo.collection import Document

# Left in the older document at the turn of the month: this performance belongs to the newer one.
MOVED = "moved"


def month_id(user_id: str, period: str) -> str:
    return f"{user_id}:{period}"


def path_of(entry_id: str) -> str:
    """An entry's id is made of a UUID: no dot or dollar can break the path."""
    return f"entries.{entry_id}"


def fields_of(entry: Entry) -> Document:
    fields: Document = {
        "state": entry.state.value,
        "reserved": entry.reserved,
        "charged": entry.charged,
        "model": entry.model,
        "at": entry.at,
        "due": entry.due,
    }
    return {**fields, "reason": entry.reason} if entry.reason else fields


def entry_of(entry_id: str, found: Document) -> Entry:
    return Entry(
        entry_id=entry_id,
        user_id=found["user_id"],
        period=found["period"],
        state=State(found["state"]),
        reserved=found["reserved"],
        charged=found["charged"],
        model=found["model"],
        at=found["at"],
        due=found["due"],
        reason=found.get("reason", ""),
    )
