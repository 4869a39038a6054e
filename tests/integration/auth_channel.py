"""The whole auth service behind a channel, for tests that call more than one of its proto services."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from newvisions.auth.v1.account_service_pb2_grpc import AccountServiceStub
from newvisions.auth.v1.admin_service_pb2_grpc import AdminServiceStub
from newvisions.auth.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from services.auth.__main__ import open_service
from services.kernel.client import Channels
from services.kernel.server import Handlers

PASSWORD = "a tall hedgehog sings"

Metadata = tuple[tuple[str, str], ...]


def environment(mongo_url: str, valkey_url: str, keys: Path, **changes: str) -> dict[str, str]:
    key_file = keys / "auth.key"
    if not key_file.exists():
        key_file.write_text(os.urandom(32).hex())
    return {
        "AUTH_MONGO_URL": mongo_url,
        "AUTH_VALKEY_URL": valkey_url,
        "AUTH_DATABASE": f"auth_{uuid4().hex}",
        "AUTH_KEY_FILE": str(key_file),
        # Nobody is there: only erasing and exporting an account call other services.
        "AUTH_VOICE_ADDRESS": "127.0.0.1:9",
        "AUTH_PERFORM_ADDRESS": "127.0.0.1:9",
        "AUTH_CONTENT_ADDRESS": "127.0.0.1:9",
        # Hashing at full cost has its own tests; here it would only be slow.
        "AUTH_ARGON2_MEMORY_KIB": "1024",
        "AUTH_ARGON2_TIME_COST": "1",
        **changes,
    }


@dataclass(frozen=True, slots=True)
class Auth:
    """Stubs of everything the service serves."""

    auth: Any
    account: Any
    admin: Any
    api_keys: Any


@asynccontextmanager
async def serving(variables: dict[str, str]) -> AsyncIterator[Auth]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        handlers = Handlers()
        async with open_service(handlers, Channels(handlers, frozenset())):
            server = grpc.aio.server()
            handlers.attach_to(server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Auth(
                    AuthServiceStub(channel),  # type: ignore[no-untyped-call]
                    AccountServiceStub(channel),  # type: ignore[no-untyped-call]
                    AdminServiceStub(channel),  # type: ignore[no-untyped-call]
                    ApiKeyServiceStub(channel),  # type: ignore[no-untyped-call]
                )
            await server.stop(None)


def signed_in(user_id: str, roles: str = "user", *more: tuple[str, str]) -> Metadata:
    """What the gateway says about a user."""
    return (("x-user-id", user_id), ("x-user-roles", roles), *more)


# An administrator of whom the service knows nothing else: tokens verify without a call.
ADMIN = signed_in(str(uuid4()), "user admin", ("x-request-id", "request-of-an-admin"))
OPERATOR = signed_in(str(uuid4()), "user operator")


async def new_user(stage: Auth) -> Any:
    made = await stage.auth.CreateActivationCodes(pb.CreateActivationCodesRequest(count=1), metadata=ADMIN)
    name = f"u{uuid4().hex[:12]}"
    asked = pb.RegisterRequest(
        username=name, email=f"{name}@example.org", password=PASSWORD, activation_code=made.codes[0]
    )
    return await stage.auth.Register(asked)


async def new_admin(stage: Auth) -> Any:
    user = await new_user(stage)
    change = admin_pb.UpdateUserRequest(user_id=user.user_id, roles=["user", "admin"])
    await stage.admin.UpdateUser(change, metadata=ADMIN)
    return user
