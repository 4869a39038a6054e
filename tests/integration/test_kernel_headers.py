"""Headers for a caller who is gone are nobody's mistake."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from services.kernel.edge import send_headers

METHOD = "/tests.Headers/Listen"


async def test_headers_that_nobody_waits_for_any_more_are_a_cancelled_call() -> None:
    began, outcome = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def listen(_: bytes, context: Any) -> AsyncIterator[bytes]:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # As if it had been just about to send them.
            try:
                await send_headers(context, (("a", "b"),))
            except BaseException as error:
                outcome.set_result(type(error))
                raise
        yield b""

    server = grpc.aio.server()
    handler = grpc.unary_stream_rpc_method_handler(listen)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tests.Headers", {"Listen": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream(METHOD)(b"")
        reading = asyncio.create_task(call.read())
        await began.wait()
        call.cancel()
        async with asyncio.timeout(10):
            assert await outcome is asyncio.CancelledError
        await asyncio.wait([reading])
    await server.stop(grace=None)
