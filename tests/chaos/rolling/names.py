"""A name server for headless services: each name is the addresses of its pods, as they are now."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

# As short as a cluster's own name server has it.
_TTL_SECONDS = 1
_DOMAIN = ".pods"


class Names(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.pods: dict[str, list[str]] = {}
        self.port = 0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str | int, int]) -> None:
        asked = dns.message.from_wire(data)
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        (question,) = asked.question
        pods = self.pods.get(question.name.to_text().rstrip(".").removesuffix(_DOMAIN), [])
        if question.rdtype == dns.rdatatype.A and pods:
            answer.answer.append(dns.rrset.from_text(question.name, _TTL_SECONDS, "IN", "A", *pods))
        self._transport.sendto(answer.to_wire(), addr)


def name_of(service: str) -> str:
    return f"{service}{_DOMAIN}"


@asynccontextmanager
async def serving_names() -> AsyncIterator[Names]:
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    try:
        yield names
    finally:
        transport.close()
