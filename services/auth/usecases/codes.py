"""What administrators do with activation codes; each change stands in the audit log before it is made."""

import csv
import io
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from services.auth.domain.accounts import ActivationCode, new_code
from services.auth.domain.audit import Actor
from services.auth.domain.codes import CodeRecord
from services.auth.domain.paging import cut, place_in
from services.auth.ports import Codes
from services.auth.usecases.audit import AuditLog, Change

log = structlog.get_logger()

CSV_COLUMNS = ("code", "batch", "expires_at", "state", "used_by", "used_at")


class CodeBatches:
    def __init__(self, codes: Codes, audit: AuditLog, new_id: Callable[[], UUID]) -> None:
        self._codes = codes
        self._audit = audit
        self._new_id = new_id

    async def create(
        self, actor: Actor, count: int, expires_at: datetime, now: datetime
    ) -> list[ActivationCode]:
        """One batch. Chance makes the same code twice once in 10^16."""
        batch_id = str(self._new_id())
        codes = [ActivationCode(new_code(secrets.choice), expires_at, batch_id) for _ in range(count)]
        change = Change("codes_created", batch_id, {"count": str(count), "expires_at": _moment(expires_at)})
        async with self._audit.recorded(actor, change, now):
            await self._codes.add(codes, actor.name, now)
        log.info("activation_codes_created", count=count, made_by=actor.name, batch_id=batch_id)
        return codes

    async def page(self, token: str, size: int) -> tuple[Sequence[CodeRecord], str]:
        """Newest first. Raises PageTokenInvalid."""
        found = await self._codes.page(place_in(token), size + 1)
        return cut(found, size, lambda code: code.place)

    async def batch(self, batch_id: str) -> list[CodeRecord]:
        """Raises CodeBatchNotFound."""
        return await self._codes.batch(batch_id)

    async def revoke(self, actor: Actor, code: str, now: datetime) -> None:
        """Raises ActivationCodeNotFound, ActivationCodeSpent."""
        async with self._audit.recorded(actor, Change("code_revoked", code, {}), now):
            await self._codes.revoke(code, now)


def csv_of(codes: Sequence[CodeRecord], now: datetime) -> str:
    """A line for each code, after one with the names of the columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180.
    writer.writerow(CSV_COLUMNS)
    for each in codes:
        used_at = _moment(each.used_at) if each.used_at else ""
        writer.writerow(
            (each.code, each.batch_id, _moment(each.expires_at), each.state(now), each.used_by, used_at)
        )
    return text.getvalue()


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
