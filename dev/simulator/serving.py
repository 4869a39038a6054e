"""Runs the simulator: in a process of its own, or beside a test in the same event loop."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn

from dev.embedded import port_open
from dev.process import Spec
from dev.simulator.app import application
from dev.simulator.connections import CuttableConnection
from dev.simulator.options import Options
from dev.simulator.remote import Simulator


def configuration(options: Options, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    return uvicorn.Config(
        application(options),
        host,
        port,
        http=CuttableConnection,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )


def spec(port: int, *arguments: str) -> Spec:
    """The simulator as a process: `arguments` as on its command line."""
    command = (sys.executable, "-m", "dev.simulator", "--port", str(port), *arguments)
    return Spec("simulator", command, lambda: port_open(port), ready_seconds=20)


class _Guest(uvicorn.Server):
    """Leaves the signals to the program that it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[Simulator]:
    """A simulator that lives as long as the context."""
    # With its protocol named, or the loop leaves Nagle's algorithm on, which adds 40 ms to each answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with contextlib.closing(listener):
        listener.bind(("127.0.0.1", 0))
        # Connections that come before the server has started wait in the queue.
        listener.listen()
        server = _Guest(configuration(options))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                yield Simulator(f"http://127.0.0.1:{listener.getsockname()[1]}", http)
        finally:
            server.should_exit = True
            await serving
