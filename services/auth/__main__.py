"""Builds the auth service, serves it, closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from newvisions.auth.v1.account_service_pb2_grpc import add_AccountServiceServicer_to_server
from newvisions.auth.v1.admin_service_pb2_grpc import add_AdminServiceServicer_to_server
from newvisions.auth.v1.api_key_service_pb2_grpc import add_ApiKeyServiceServicer_to_server
from newvisions.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from services.auth.composition import build
from services.auth.everywhere import reach
from services.auth.rpc import AccountServicer, AdminServicer, ApiKeyServicer, AuthServicer
from services.auth.settings import Settings
from services.auth.sweeper import erase_and_retire, sweep
from services.kernel.client import Channels
from services.kernel.clock import clock
from services.kernel.server import Handlers, ServerSettings, running, serve
from services.kernel.settings import read


@asynccontextmanager
async def open_service(handlers: Handlers, channels: Channels) -> AsyncIterator[None]:
    settings = read(Settings)
    async with build(settings) as built:
        handlers.dependencies["auth database"] = built.database.ping
        handlers.replays["newvisions.auth.v1"] = built.replays
        servicer = AuthServicer(built.ask, clock)
        add_AuthServiceServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        api_keys = ApiKeyServicer(built.ask.key_access, clock)
        add_ApiKeyServiceServicer_to_server(api_keys, handlers)  # type: ignore[no-untyped-call]
        everywhere = reach(settings, built, channels)
        account = AccountServicer(built.sessions, built.database.statement, everywhere.access, clock)
        add_AccountServiceServicer_to_server(account, handlers)  # type: ignore[no-untyped-call]
        admin = AdminServicer(built.ask, clock)
        add_AdminServiceServicer_to_server(admin, handlers)  # type: ignore[no-untyped-call]
        seconds = settings.sweep_seconds
        async with running(sweep(built, seconds)), running(erase_and_retire(everywhere, seconds)):
            yield


if __name__ == "__main__":
    asyncio.run(serve({"auth": open_service}, read(ServerSettings)))
