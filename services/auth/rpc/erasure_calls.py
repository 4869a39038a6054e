"""The calls of AccountService about all that is kept of a user: erase it, export it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import grpc
from google.protobuf.struct_pb2 import Struct

from newvisions.auth.v1 import account_service_pb2 as pb
from services.auth.rpc.acting import acting
from services.auth.rpc.clients import client
from services.auth.usecases.closing import Asker, Closings
from services.auth.usecases.export import Export, Exports, Json
from services.kernel.caller import owner

Context: TypeAlias = grpc.aio.ServicerContext


@dataclass(frozen=True, slots=True)
class ErasureAccess:
    closings: Closings
    exports: Exports


class ErasureCalls:
    def __init__(self, access: ErasureAccess, clock: Callable[[], datetime]) -> None:
        self._erasure_access = access
        self._erasure_clock = clock

    async def EraseAccount(
        self, request: pb.EraseAccountRequest, context: Context
    ) -> pb.EraseAccountResponse:
        asker = Asker(acting(), request.password, client().address)
        erasure = await self._erasure_access.closings.close(
            asker, owner(request.user_id), self._erasure_clock()
        )
        return pb.EraseAccountResponse(erasure_id=erasure.erasure_id, state=erasure.state)

    async def ExportAccount(
        self, request: pb.ExportAccountRequest, context: Context
    ) -> pb.ExportAccountResponse:
        now = self._erasure_clock()
        found = await self._erasure_access.exports.export(acting(), owner(request.user_id), now)
        return _exported(found, now)


def _exported(found: Export, now: datetime) -> pb.ExportAccountResponse:
    return pb.ExportAccountResponse(
        exported_at=now,
        account=_struct(found.account),
        settings=_struct(found.settings),
        voice=_struct(found.voice),
        recordings=[_struct(each) for each in found.recordings],
        credits=[_struct(each) for each in found.credits],
        sessions=[_struct(each) for each in found.sessions],
        api_keys=[_struct(each) for each in found.api_keys],
        complete=found.complete,
    )


def _struct(fields: Json) -> Struct:
    made = Struct()
    made.update(fields)
    return made
