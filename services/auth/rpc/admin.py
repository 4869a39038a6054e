"""Administration: protobuf in, one use case, protobuf out."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import grpc
from google.api import httpbody_pb2

from newvisions.auth.v1 import admin_service_pb2 as pb
from newvisions.auth.v1.admin_service_pb2_grpc import AdminServiceServicer
from services.auth.domain.administration import UserChanges, roles_of
from services.auth.domain.audit import AuditEntry
from services.auth.domain.codes import CodeRecord
from services.auth.domain.credits import Adjustment
from services.auth.domain.paging import USUAL_PAGE
from services.auth.rpc.acting import acting
from services.auth.rpc.auth import UseCases
from services.auth.usecases.codes import csv_of
from services.auth.usecases.credits import Account
from services.kernel.caller import owner

Context: TypeAlias = grpc.aio.ServicerContext


class AdminServicer(AdminServiceServicer):
    def __init__(self, ask: UseCases, clock: Callable[[], datetime]) -> None:
        self._ask = ask
        self._clock = clock

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        now, following = self._clock(), ""
        if request.named:
            found = await self._ask.administration.user_named(request.named, now)
        else:
            size = request.page_size or USUAL_PAGE
            found, following = await self._ask.administration.users(request.page_token, size, now)
        return pb.ListUsersResponse(users=[_user(each) for each in found], next_page_token=following)

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: Context) -> pb.UpdateUserResponse:
        changes = UserChanges(
            roles=roles_of(request.roles) if request.roles else None,
            disabled=request.disabled if request.HasField("disabled") else None,
            monthly_limit=request.limit if request.HasField("limit") else None,
            plan=request.plan if request.HasField("plan") else None,
            follows_plan=request.follow_plan,
        )
        account = await self._ask.administration.update_user(
            acting(), owner(request.user_id), changes, self._clock()
        )
        return pb.UpdateUserResponse(user=_user(account))

    async def ListActivationCodes(
        self, request: pb.ListActivationCodesRequest, context: Context
    ) -> pb.ListActivationCodesResponse:
        now, size = self._clock(), request.page_size or USUAL_PAGE
        found, following = await self._ask.codes.page(request.page_token, size)
        return pb.ListActivationCodesResponse(
            codes=[_code(each, now) for each in found], next_page_token=following
        )

    async def ExportActivationCodes(
        self, request: pb.ExportActivationCodesRequest, context: Context
    ) -> pb.ExportActivationCodesResponse:
        table = csv_of(await self._ask.codes.batch(request.batch_id), self._clock())
        body = httpbody_pb2.HttpBody(content_type="text/csv; charset=utf-8", data=table.encode())
        return pb.ExportActivationCodesResponse(body=body)

    async def RevokeActivationCode(
        self, request: pb.RevokeActivationCodeRequest, context: Context
    ) -> pb.RevokeActivationCodeResponse:
        await self._ask.codes.revoke(acting(), request.code, self._clock())
        return pb.RevokeActivationCodeResponse()

    async def AdjustCredits(
        self, request: pb.AdjustCreditsRequest, context: Context
    ) -> pb.AdjustCreditsResponse:
        wanted = Adjustment(request.adjustment_id.lower(), request.amount, request.reason)
        account = await self._ask.administration.adjust_credits(
            acting(), owner(request.user_id), wanted, self._clock()
        )
        return pb.AdjustCreditsResponse(char_count=account.balance.used, monthly_limit=account.limit)

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        found, following = await self._ask.audit.page(request.page_token, request.page_size or USUAL_PAGE)
        return pb.ListAuditEntriesResponse(
            entries=[_entry(each) for each in found], next_page_token=following
        )


def _user(account: Account) -> pb.AdminUser:
    user = account.user
    return pb.AdminUser(
        user_id=user.user_id,
        username=user.username,
        email=user.email,
        roles=user.roles,
        disabled=user.disabled,
        plan=account.plan,
        monthly_limit=account.limit,
        char_count=account.balance.used,
        created_at=user.created_at,
    )


def _code(code: CodeRecord, now: datetime) -> pb.ActivationCode:
    return pb.ActivationCode(
        code=code.code,
        batch_id=code.batch_id,
        state=code.state(now),
        created_at=code.created_at,
        expires_at=code.expires_at,
        used_by=code.used_by,
        used_at=code.used_at,
    )


def _entry(entry: AuditEntry) -> pb.AuditEntry:
    return pb.AuditEntry(
        id=entry.entry_id,
        at=entry.at,
        actor=entry.actor.name,
        action=entry.action,
        subject=entry.subject,
        detail=entry.detail,
        request_id=entry.actor.request_id,
    )
