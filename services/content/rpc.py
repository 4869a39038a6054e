"""Protobuf in, protobuf out."""

from typing import Any

from newvisions.content.v1 import content_service_pb2 as pb
from newvisions.content.v1.content_service_pb2_grpc import ContentServiceServicer
from services.content.usecases import Writing
from services.kernel.caller import caller


class ContentServicer(ContentServiceServicer):
    def __init__(self, writing: Writing) -> None:
        self._writing = writing

    async def ComposeNote(self, request: pb.ComposeNoteRequest, context: Any) -> pb.ComposeNoteResponse:
        note = await self._writing.compose_note(
            request.routine_type, request.value, request.language, request.user_id
        )
        return pb.ComposeNoteResponse(
            text=note.text, model=note.model, fallback_from=note.fallback_from, cached=note.cached
        )

    async def GenerateThought(
        self, request: pb.GenerateThoughtRequest, context: Any
    ) -> pb.GenerateThoughtResponse:
        note = await self._writing.generate_thought(
            request.topic, request.value, request.language, caller().user_id
        )
        return pb.GenerateThoughtResponse(
            thought=note.text, model=note.model, fallback_from=note.fallback_from, cached=note.cached
        )

    async def EraseUser(self, request: pb.EraseUserRequest, context: Any) -> pb.EraseUserResponse:
        erased = await self._writing.forget(request.user_id, request.erasure_id)
        return pb.EraseUserResponse(erased=erased, done=True)
