"""The life of a process: build, say ready, serve, say not ready, drain, close."""

import asyncio
import gc
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Literal

import grpc
import structlog
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from prometheus_client import start_http_server
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kernel import edge, logs, replay
from services.kernel.client import MAX_MESSAGE_BYTES, Channels
from services.kernel.errors import ServiceError
from services.kernel.pulse import watch_the_loop
from services.kernel.readiness import Check, Dependencies
from services.kernel.replay import Replays
from services.kernel.settings import Address, SettingsWrong, SettingUnusable, at_fault, read
from services.kernel.tls import TlsSettings
from services.kernel.tracing import tracing

log = structlog.get_logger()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class ServerSettings(BaseSettings):
    """What every process needs, from SERVER_* variables."""

    model_config = SettingsConfigDict(env_prefix="SERVER_", frozen=True)

    address: Address = "[::]:50051"
    # Health in clear on a port of its own, for who asks without a certificate; empty for none.
    health_address: Address = ""
    # Prometheus metrics over plain HTTP; 0 for none.
    metrics_port: int = Field(default=0, ge=0, le=65535)
    # The address at which they are read.
    metrics_host: str = "0.0.0.0"  # nosec B104 - monitoring comes from other machines
    # Time for the gateway to see NOT_SERVING before connections close.
    drain_seconds: float = Field(default=0, ge=0, le=25)
    # drain_seconds and this must stay below the pod's terminationGracePeriodSeconds.
    stop_grace_seconds: float = Field(default=10, ge=0, le=300)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Handlers(dict[str, grpc.RpcMethodHandler]):
    """Collects servicers as grpc.Server would, with the edge around each method.

    Keys are full method names, "/package.Service/Method". Generated `add_..._to_server` functions
    accept it in place of a server. `dependencies` are what the services cannot work without, `partly_needed`
    what only some calls need; `replays` is, by package, where answers are kept for who asks again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dependencies: dict[str, Check] = {}
        self.partly_needed: dict[str, Check] = {}
        self.replays: dict[str, Replays] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Generated code calls this as well; add_registered_method_handlers says the same."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler]
    ) -> None:
        described = descriptor_pool.Default().FindServiceByName(service)
        for name, handler in handlers.items():
            method = described.methods_by_name[name]
            self[f"/{service}/{name}"] = edge.wrap(method, handler, self.replays)

    def attach_to(self, server: grpc.aio.Server) -> None:
        """Register with a real server."""
        services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for full_name, handler in self.items():
            _, service, method = full_name.split("/")
            services.setdefault(service, {})[method] = handler
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, found) for name, found in services.items())
        )


# Opens one service's clients, adds its servicer, and closes the clients again on exit.
OpenService = Callable[[Handlers, Channels], AbstractAsyncContextManager[None]]


async def serve(services: Mapping[str, OpenService], settings: ServerSettings) -> None:
    """Run services in this process until SIGTERM or SIGINT; returns when all is closed.

    Raises SettingsWrong, a line for who started it, when a setting or a store lets nothing be served.
    """
    logs.configure(settings.log_level)
    tls = read(TlsSettings)
    stop = asyncio.Event()
    for signalled in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signalled, stop.set)
    with _refusing("server"):
        tracing.open("-".join(sorted(services)) if len(services) < 5 else "newvisions")
    handlers = Handlers()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, tracing.close)
        channels = Channels(handlers, frozenset(services), tls.for_channels() if tls.on else None)
        stack.push_async_callback(channels.close)
        for name, open_service in services.items():
            with _refusing(name):
                await stack.enter_async_context(open_service(handlers, channels))
        server = grpc.aio.server(options=SERVER_OPTIONS)
        handlers.attach_to(server)
        checks = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        with _refusing("server"):
            port = _listening(server, settings.address, tls)
            if settings.health_address:
                await stack.enter_async_context(_health_in_clear(settings.health_address, checks))
            if settings.metrics_port:
                with at_fault(
                    "SERVER_METRICS_PORT", f"nobody can listen on {settings.metrics_port}", OSError
                ):
                    metrics, _ = start_http_server(settings.metrics_port, settings.metrics_host)
                stack.callback(metrics.shutdown)
        await server.start()
        _keep_pauses_short()
        for name in ("", "liveness", "readiness", *services):
            await checks.set(name, SERVING)
        log.info("server_started", services=sorted(services), address=settings.address, port=port)
        async with running(_ready_while(handlers, checks)), running(watch_the_loop()):
            await stop.wait()
        await checks.enter_graceful_shutdown()
        log.info("server_draining", services=sorted(services))
        await asyncio.sleep(settings.drain_seconds)
        await _end_calls(server, settings.stop_grace_seconds)
    log.info("server_stopped", services=sorted(services))


async def _end_calls(server: grpc.aio.Server, seconds: float) -> None:
    """Also waits for replayed work whose caller has left: it uses clients that are closed next."""
    clock = asyncio.get_running_loop().time
    give_up = clock() + seconds
    await server.stop(seconds)
    await replay.finish(give_up - clock())


def _keep_pauses_short() -> None:
    """Of the event loop, by what the interpreter does on the side; called when all is loaded.

    What was loaded lives as long as the process: looking through it for garbage takes a tenth of a second.
    And whoever computes gives way sooner than after the usual 5 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
    sys.setswitchinterval(_SWITCH_SECONDS)


# Ten times the usual: most of what a call makes is gone before it is looked through.
_NEW_OBJECTS = 7_000
_SWITCH_SECONDS = 0.001


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turns what keeps a process from starting into its end, with a line in place of a traceback."""
    try:
        yield
    except SettingUnusable as error:
        raise SettingsWrong(str(error)) from None
    except ServiceError as error:
        raise SettingsWrong(f"{name} does not start: {error.message}") from None


def _listening(server: grpc.aio.Server, address: str, tls: TlsSettings) -> int:
    """The port. Raises SettingUnusable."""
    with at_fault("SERVER_ADDRESS", f"nobody can listen on {address}", RuntimeError):
        if not tls.on:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, tls.for_server()))


async def _ready_while(handlers: Handlers, checks: health.aio.HealthServicer) -> None:
    async def tell(ready: bool) -> None:
        await checks.set("readiness", SERVING if ready else NOT_SERVING)

    await Dependencies(handlers.dependencies, tell, partly=handlers.partly_needed).watch()


@asynccontextmanager
async def _health_in_clear(address: str, checks: health.aio.HealthServicer) -> AsyncIterator[None]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    with at_fault("SERVER_HEALTH_ADDRESS", f"nobody can listen on {address}", RuntimeError):
        server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(grace=None)


SERVER_OPTIONS = (
    # Above the gateway's own body limits, so that its 413 comes first.
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Without a maximum age, callers never see new replicas.
    ("grpc.max_connection_age_ms", 300_000),
    # Above the longest stream, which would be cut off in the middle otherwise.
    ("grpc.max_connection_age_grace_ms", 180_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


@asynccontextmanager
async def running(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work beside the calls, ended when the block is left.

    Cancelled until it has ended: the database driver may swallow a cancellation that meets an answer.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.5)
        if not task.cancelled() and (crash := task.exception()):
            log.error("work_crashed", exc_info=crash)
