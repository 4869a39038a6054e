"""The conditions and the order of a page, newest first."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pymongo import DESCENDING, IndexModel

from services.auth.domain.paging import Place

# Also the first page is a bounded range: the embedded server scans everything for less.
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def index_of(moment: str, name: str) -> IndexModel:
    return IndexModel(order_of(moment), name=name)


def order_of(moment: str) -> list[tuple[str, int]]:
    return [(moment, DESCENDING), ("_id", DESCENDING)]


def later_than(moment: str, place: Place | None) -> Mapping[str, Any]:
    """What comes after this place in the list: what is older, or of the same moment and behind it."""
    if place is None:
        return {moment: {"$gte": _FIRST}}
    return {
        moment: {"$gte": _FIRST, "$lte": place.at},
        "$or": [{moment: {"$lt": place.at}}, {"_id": {"$lt": place.thing_id}}],
    }
