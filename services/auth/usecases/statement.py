"""What became of a user's credits, newest first."""

from collections.abc import Sequence
from datetime import datetime

from services.auth.domain.credits import Entry
from services.auth.domain.paging import Place, cut, place_in
from services.auth.ports import Statement


async def statement(
    entries: Statement, user_id: str, token: str, size: int, now: datetime
) -> tuple[Sequence[Entry], str]:
    """One page and the token of the next. Raises PageTokenInvalid."""
    found = await entries.page(user_id, place_in(token), size + 1, now)
    return cut(found, size, lambda entry: Place(entry.at, entry.filed))
