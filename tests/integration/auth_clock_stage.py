"""The auth service with a clock that a test may turn, over a real socket."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest
from pymongo import AsyncMongoClient

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from newvisions.auth.v1.account_service_pb2_grpc import (
    AccountServiceServicer,
    AccountServiceStub,
    add_AccountServiceServicer_to_server,
)
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceStub, add_AuthServiceServicer_to_server
from newvisions.edge.v1 import edge_pb2
from services.auth.composition import Built, build
from services.auth.rpc import AuthServicer
from services.auth.rpc.session_calls import SessionCalls
from services.auth.settings import Settings
from services.kernel.clock import clock
from services.kernel.server import Handlers
from services.kernel.statuses import api_error

PASSWORD = "a tall hedgehog sings"

ADMIN = (("x-user-id", str(uuid4())), ("x-user-roles", "user admin"))


class Clock:
    def __init__(self) -> None:
        self.now = clock()

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


class SessionServicer(SessionCalls, AccountServiceServicer):
    """The part of AccountService that is about sessions and passwords."""


@dataclass(frozen=True, slots=True)
class Stage:
    auth: Any
    account: Any
    built: Built
    settings: Settings
    clock: Clock

    async def change(self, collection: str, document_id: object, **fields: Any) -> None:
        """As time, a crash or an older release would."""
        async with AsyncMongoClient[dict[str, Any]](self.settings.mongo_url, tz_aware=True) as client:
            found = client[self.settings.database][collection]
            assert (await found.update_one({"_id": document_id}, {"$set": fields})).matched_count == 1

    async def kept(self, collection: str, document_id: object) -> dict[str, Any]:
        async with AsyncMongoClient[dict[str, Any]](self.settings.mongo_url, tz_aware=True) as client:
            found = await client[self.settings.database][collection].find_one({"_id": document_id})
            assert found is not None
            return found


def settings(mongo_url: str, valkey_url: str, keys: Path, **changes: Any) -> Settings:
    key_file = keys / "auth.key"
    if not key_file.exists():
        key_file.write_text(os.urandom(32).hex())
    given: dict[str, Any] = {
        "mongo_url": mongo_url,
        "valkey_url": valkey_url,
        "database": f"auth_{uuid4().hex}",
        "key_file": key_file,
        # Hashing at full cost has its own tests; here it would only be slow.
        "argon2_memory_kib": 1024,
        "argon2_time_cost": 1,
        # Nobody hurries these tests.
        "password_queue": 1000,
        **changes,
    }
    return Settings(**given)


@asynccontextmanager
async def playing(chosen: Settings) -> AsyncIterator[Stage]:
    time = Clock()
    async with build(chosen) as built:
        handlers, server = Handlers(), grpc.aio.server()
        auth, account = AuthServicer(built.ask, time), SessionServicer(built.sessions, time)
        add_AuthServiceServicer_to_server(auth, handlers)  # type: ignore[no-untyped-call]
        add_AccountServiceServicer_to_server(account, handlers)  # type: ignore[no-untyped-call]
        handlers.attach_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stubs = AuthServiceStub(channel), AccountServiceStub(channel)  # type: ignore[no-untyped-call]
            yield Stage(*stubs, built, chosen, time)
        await server.stop(None)


async def refused(call: Any) -> tuple[str, int]:
    """The code and the HTTP status of a refusal."""
    return told((await failure(call))[0])


async def failure(call: Any) -> tuple[edge_pb2.ApiError, int]:
    """The refusal and its Retry-After."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error, retry_after = api_error(raised.value)
    assert error is not None
    assert error.message
    assert error.action
    return error, retry_after


def told(error: edge_pb2.ApiError) -> tuple[str, int]:
    return error.error, error.http_status


async def new_codes(stage: Stage, count: int = 1) -> Any:
    asked = pb.CreateActivationCodesRequest(count=count)
    return await stage.auth.CreateActivationCodes(asked, metadata=ADMIN)


async def new_code(stage: Stage) -> str:
    return str((await new_codes(stage)).codes[0])


def application(code: str, **changes: str) -> pb.RegisterRequest:
    name = f"u{uuid4().hex[:12]}"
    filled = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "activation_code": code}
    return pb.RegisterRequest(**{**filled, **changes})


async def new_user(stage: Stage, **changes: str) -> Any:
    return await stage.auth.Register(application(await new_code(stage), **changes))


def login(stage: Stage, name: str, password: str = PASSWORD, **headers: str) -> Any:
    metadata = tuple((key.replace("_", "-"), value) for key, value in headers.items())
    return stage.auth.Login(pb.LoginRequest(username=name, password=password), metadata=metadata)


def refresh(stage: Stage, session: Any) -> Any:
    return stage.auth.Refresh(pb.RefreshRequest(refresh_token=session.refresh_token))


def claims_of(session: Any) -> dict[str, Any]:
    read: dict[str, Any] = jwt.decode(session.access_token, options={"verify_signature": False})
    return read


def as_user(user: Any, session: Any = None) -> dict[str, Any]:
    """What the gateway says about a user, and about the session of their token."""
    sid = (("x-session-id", claims_of(session)["sid"]),) if session else ()
    return {"metadata": (("x-user-id", user.user_id), ("x-user-roles", "user"), *sid)}


def reset(
    stage: Stage, email: str, code: str, password: str = "three wet umbrellas", path: str = "/v1"
) -> Any:
    asked = account_pb.ResetPasswordRequest(email=email, activation_code=code, new_password=password)
    return stage.account.ResetPassword(
        asked, metadata=(("x-envoy-original-path", f"{path}/auth/reset-password"),)
    )
