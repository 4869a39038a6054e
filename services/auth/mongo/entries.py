"""How entries of the credit ledger are written down, in a month and in the archive alike."""

from services.auth.domain.credits import Entry, State
from services.auth.mongo.collection import Document

# Left in the older document at the turn of the month: this performance belongs to the newer one.
MOVED = "moved"


def month_id(user_id: str, period: str) -> str:
    return f"{user_id}:{period}"


def path_of(performance_id: str) -> str:
    """A performance id is a UUID: no dot or dollar can break the path."""
    return f"entries.{performance_id}"


def fields_of(entry: Entry) -> Document:
    return {
        "state": entry.state.value,
        "reserved": entry.reserved,
        "charged": entry.charged,
        "model": entry.model,
        "at": entry.at,
        "due": entry.due,
    }


def entry_of(performance_id: str, found: Document) -> Entry:
    return Entry(
        performance_id=performance_id,
        user_id=found["user_id"],
        period=found["period"],
        state=State(found["state"]),
        reserved=found["reserved"],
        charged=found["charged"],
        model=found["model"],
        at=found["at"],
        due=found["due"],
    )
