"""AccountService, put together from its parts."""

from collections.abc import Callable
from datetime import datetime

from newvisions.auth.v1.account_service_pb2_grpc import AccountServiceServicer
from services.auth.ports import Statement
from services.auth.rpc.credit_calls import CreditCalls
from services.auth.rpc.erasure_calls import ErasureAccess, ErasureCalls
from services.auth.rpc.session_calls import SessionAccess, SessionCalls


class AccountServicer(SessionCalls, CreditCalls, ErasureCalls, AccountServiceServicer):
    def __init__(
        self,
        sessions: SessionAccess,
        entries: Statement,
        erasures: ErasureAccess,
        clock: Callable[[], datetime],
    ) -> None:
        SessionCalls.__init__(self, sessions, clock)
        CreditCalls.__init__(self, sessions.users, entries, clock)
        ErasureCalls.__init__(self, erasures, clock)
