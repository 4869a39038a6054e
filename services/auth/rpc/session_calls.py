"""The calls of AccountService about sessions and passwords."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import grpc

from newvisions.auth.v1 import account_service_pb2 as pb
from services.auth import cookies
from services.auth.domain.accounts import SHORTEST_LEGACY_PASSWORD, SHORTEST_PASSWORD
from services.auth.domain.sessions import Session
from services.auth.ports import Sessions, Users
from services.auth.rpc.clients import client
from services.auth.usecases.reset import PasswordResets, ResetRequest
from services.auth.usecases.sessions import end_all_sessions, end_session, live_sessions
from services.auth.usecases.slowdown import Slowdown
from services.kernel.caller import caller

Context: TypeAlias = grpc.aio.ServicerContext


@dataclass(frozen=True, slots=True)
class SessionAccess:
    users: Users
    sessions: Sessions
    resets: PasswordResets
    slowdown: Slowdown


class SessionCalls:
    def __init__(self, access: SessionAccess, clock: Callable[[], datetime]) -> None:
        self._access = access
        self._session_clock = clock

    async def ListSessions(
        self, request: pb.ListSessionsRequest, context: Context
    ) -> pb.ListSessionsResponse:
        who, access = caller(), self._access
        found = await live_sessions(access.users, access.sessions, who.user_id, self._session_clock())
        return pb.ListSessionsResponse(sessions=[_session(each, who.session_id) for each in found])

    async def EndSession(self, request: pb.EndSessionRequest, context: Context) -> pb.EndSessionResponse:
        await end_session(self._access.sessions, caller().user_id, request.session_id, self._session_clock())
        return pb.EndSessionResponse()

    async def EndAllSessions(
        self, request: pb.EndAllSessionsRequest, context: Context
    ) -> pb.EndAllSessionsResponse:
        access = self._access
        await end_all_sessions(access.users, access.sessions, caller().user_id, self._session_clock())
        await cookies.clear(context)
        return pb.EndAllSessionsResponse()

    async def ResetPassword(
        self, request: pb.ResetPasswordRequest, context: Context
    ) -> pb.ResetPasswordResponse:
        shortest = SHORTEST_LEGACY_PASSWORD if caller().legacy_client else SHORTEST_PASSWORD
        asked = ResetRequest(
            email=request.email,
            code=request.activation_code,
            password=request.new_password,
            shortest_password=shortest,
            address=client().address,
            request_id=caller().request_id,
        )
        await self._access.resets.reset(asked, self._access.slowdown, self._session_clock())
        return pb.ResetPasswordResponse()


def _session(session: Session, current: str) -> pb.Session:
    return pb.Session(
        id=session.session_id,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        client=session.client,
        current=session.session_id == current,
    )
