"""Other services, in this service's words."""

from typing import Any

from newvisions.synthesis.v1.synthesis_service_pb2 import EnrolVoiceRequest
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import SynthesisServiceStub
from services.kernel.client import outgoing, peer


class SynthesisPeer:
    """Learns voices for engines that keep none themselves."""

    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub = SynthesisServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds

    async def enrol(self, engine: str, pcm: bytes, sample_rate: int) -> bytes:
        request = EnrolVoiceRequest(engine=engine, pcm=pcm, sample_rate=sample_rate)
        with peer("synthesis"):
            reply = await self._stub.EnrolVoice(request, **outgoing(self._seconds))
        return bytes(reply.profile)
