"""Protobuf in, protobuf out."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from newvisions.content.v1 import content_service_pb2 as pb
from newvisions.content.v1.content_service_pb2_grpc import ContentServiceServicer
from services.content.asking import Note
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
            text=note.text,
            model=note.model,
            fallback_from=note.fallback_from,
            cached=note.cached,
            streams=self._writing.streams(request.language),
        )

    async def StreamNote(
        self, request: pb.StreamNoteRequest, context: Any
    ) -> AsyncGenerator[pb.StreamNoteResponse, None]:
        pieces = self._writing.stream_note(
            request.routine_type, request.value, request.language, request.user_id
        )
        sent = ""
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Note):
                    streams = self._writing.streams(request.language)
                    yield pb.StreamNoteResponse(
                        text=piece.text.removeprefix(sent), written=_written(piece, streams)
                    )
                else:
                    sent = piece
                    yield pb.StreamNoteResponse(text=piece)

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


def _written(note: Note, streams: bool) -> pb.Written:
    return pb.Written(
        model=note.model,
        fallback_from=note.fallback_from,
        cached=note.cached,
        streams=streams,
        ended_by=note.ended_by,
    )
