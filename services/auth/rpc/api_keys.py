"""API keys: protobuf in, one use case, protobuf out."""

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import grpc

from newvisions.auth.v1 import api_key_service_pb2 as pb
from newvisions.auth.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer
from services.auth.domain.api_keys import ApiKey
from services.auth.domain.paging import USUAL_PAGE
from services.auth.rpc.moments import moment_of
from services.auth.usecases.api_keys import KeyAccess, WantedKey
from services.kernel.caller import caller

Context: TypeAlias = grpc.aio.ServicerContext


class ApiKeyServicer(ApiKeyServiceServicer):
    def __init__(self, keys: KeyAccess, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._clock = clock

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Context
    ) -> pb.CreateApiKeyResponse:
        expires_at = moment_of(request.expires_at) if request.HasField("expires_at") else None
        wanted = WantedKey(request.name, tuple(request.scopes), expires_at)
        who = caller()
        key, text = await self._keys.create(who.user_id, wanted, self._clock(), who.session_id)
        return pb.CreateApiKeyResponse(
            id=key.key_id,
            name=key.name,
            scopes=key.scopes,
            created_at=key.created_at,
            expires_at=key.expires_at,
            key=text,
        )

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        size = request.page_size or USUAL_PAGE
        keys, following = await self._keys.page(caller().user_id, request.page_token, size, self._clock())
        return pb.ListApiKeysResponse(keys=[_shown(key) for key in keys], next_page_token=following)

    async def DeleteApiKey(
        self, request: pb.DeleteApiKeyRequest, context: Context
    ) -> pb.DeleteApiKeyResponse:
        await self._keys.delete(caller().user_id, request.key_id)
        return pb.DeleteApiKeyResponse()

    async def ExchangeApiKey(
        self, request: pb.ExchangeApiKeyRequest, context: Context
    ) -> pb.ExchangeApiKeyResponse:
        token, lives = await self._keys.exchange(request.key, self._clock())
        return pb.ExchangeApiKeyResponse(access_token=token, expires_in=int(lives.total_seconds()))


def _shown(key: ApiKey) -> pb.ApiKey:
    return pb.ApiKey(
        id=key.key_id,
        name=key.name,
        scopes=key.scopes,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        prefix=key.shown,
    )
