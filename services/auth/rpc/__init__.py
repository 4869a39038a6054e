"""The service's calls: protobuf in, one use case, protobuf out; a file for each proto service."""

from services.auth.rpc.account import AccountServicer
from services.auth.rpc.admin import AdminServicer
from services.auth.rpc.api_keys import ApiKeyServicer
from services.auth.rpc.auth import AuthServicer, UseCases
from services.auth.rpc.erasure_calls import ErasureAccess
from services.auth.rpc.made import asked_by, made_by
from services.auth.rpc.session_calls import SessionAccess

__all__ = [
    "AccountServicer",
    "AdminServicer",
    "ApiKeyServicer",
    "AuthServicer",
    "ErasureAccess",
    "SessionAccess",
    "UseCases",
    "asked_by",
    "made_by",
]
