"""The call of AccountService about credits."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import grpc

from newvisions.auth.v1 import account_service_pb2 as pb
from services.auth.domain.credits import Entry
from services.auth.domain.paging import USUAL_PAGE
from services.auth.ports import Statement, Users
from services.auth.usecases.statement import statement
from services.kernel.caller import owner

Context: TypeAlias = grpc.aio.ServicerContext


class CreditCalls:
    def __init__(self, users: Users, entries: Statement, clock: Callable[[], datetime]) -> None:
        self._credit_users = users
        self._credit_entries = entries
        self._credit_clock = clock

    async def ListCreditEntries(
        self, request: pb.ListCreditEntriesRequest, context: Context
    ) -> pb.ListCreditEntriesResponse:
        # The ledger has nothing of an unknown user, which must not look like a user who spent nothing.
        user = await self._credit_users.get(owner(request.user_id))
        size = request.page_size or USUAL_PAGE
        found, following = await statement(
            self._credit_entries, user.user_id, request.page_token, size, self._credit_clock()
        )
        return pb.ListCreditEntriesResponse(
            entries=[_entry(each) for each in found], next_page_token=following
        )


def _entry(entry: Entry) -> pb.CreditEntry:
    return pb.CreditEntry(
        id=entry.shown_id,
        period=entry.period,
        state=entry.state.value,
        credits=entry.credits,
        model=entry.model,
        reason=entry.reason,
        at=entry.at,
    )
