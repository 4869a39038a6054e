"""The other service, in content's own words: what a performer has set."""

from typing import Any

from newvisions.auth.v1 import auth_service_pb2 as auth
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from services.kernel.client import outgoing, peer


class AuthPeer:
    def __init__(self, channel: Any, seconds: float) -> None:
        self._stub: Any = AuthServiceStub(channel)  # type: ignore[no-untyped-call]
        self._seconds = seconds

    async def of_caller(self) -> str:
        with peer("auth"):
            settings = await self._stub.GetSettings(auth.GetSettingsRequest(), **outgoing(self._seconds))
        return str(settings.voice_language)
