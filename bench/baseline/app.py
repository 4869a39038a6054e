"""The routes, and the application that has them."""

import base64
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import quote

import av
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from bench.baseline import accounts, performing
from bench.baseline.accounts import UserId
from bench.baseline.house import OpenHouse, open_house, refused
from bench.baseline.performing import Performance
from bench.baseline.providers import ProviderFailed
from bench.baseline.settings import Settings

routes = APIRouter(prefix="/v1")
_MOST_SAMPLE_BYTES = 3 << 20
_SHORTEST_SECONDS, _LONGEST_SECONDS = 30, 62


class Override(BaseModel):
    background_sound: bool = False
    background_volume: int = Field(default=30, ge=0, le=100)
    voice_note_name: str = Field(default="New Recording", max_length=50)


class Order(BaseModel):
    routine_type: str = Field(max_length=40)
    value: str = Field(min_length=1, max_length=200)
    settings_override: Override = Override()

    def by(self, user_id: str) -> Performance:
        wanted = self.settings_override
        volume = wanted.background_volume if wanted.background_sound else 0
        return Performance(user_id, self.routine_type, self.value, volume, wanted.voice_note_name)


@routes.post("/users/me/voice:upload")
async def upload(house: OpenHouse, user_id: UserId, request: Request) -> dict[str, Any]:
    if int(request.headers.get("content-length", 0)) > _MOST_SAMPLE_BYTES:
        raise refused(413, "SAMPLE_TOO_LARGE", "A sample has at most 3 MiB.")
    sample = await request.body()
    seconds = await house.in_a_thread(_seconds, sample)
    if not _SHORTEST_SECONDS <= seconds <= _LONGEST_SECONDS:
        raise refused(400, "SAMPLE_LENGTH_WRONG", "A sample has 30 to 60 seconds of speech.")
    before = await accounts.find_user(house, user_id)
    await house.in_a_thread((house.settings.folder / "samples" / user_id).write_bytes, sample)
    voice_id = await house.providers.add_voice(user_id, sample)
    await house.database.users.update_one({"_id": user_id}, {"$set": {"voice_id": voice_id}})
    if before.get("voice_id"):
        await house.providers.delete_voice(before["voice_id"])
    return {"status": "ready", "voice_clone_id": voice_id, "duration": seconds, "bytes": len(sample)}


@routes.post("/perform")
async def perform(house: OpenHouse, user_id: UserId, order: Order) -> JSONResponse:
    performance = order.by(user_id)
    audio, recording = await performing.whole(house, performance)
    user = await accounts.find_user(house, user_id)
    memo = {
        "routine_type": performance.routine,
        "text": performance.text,
        "audio_base64": base64.b64encode(audio).decode(),
        "charCount": user["used"][accounts.month()],
        "monthlyLimit": house.settings.monthly_limit,
        "voiceSource": "provider_voice_id",
        "charsUsedRaw": len(performance.text),
        "charsUsedEffective": performance.cost,
        "recording_id": recording["_id"],
    }
    return JSONResponse(memo, headers={"x-request-id": performance.recording_id})


@routes.post("/perform:stream")
async def perform_streamed(house: OpenHouse, user_id: UserId, order: Order) -> Response:
    performance = order.by(user_id)
    chunks = performing.streamed(house, performance)
    # The first chunk before the headers: they tell what was written, and a failure still has its status.
    first = await anext(chunks)
    headers = {"recording-id": performance.recording_id, "text": quote(performance.text)}
    headers["x-request-id"] = performance.recording_id
    return StreamingResponse(_after(first, chunks), media_type="audio/mpeg", headers=headers)


async def _after(first: bytes, chunks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(chunks):
        yield first
        async for chunk in chunks:
            yield chunk


@routes.get("/recordings")
async def recordings(house: OpenHouse, user_id: UserId, page_size: int = 20) -> dict[str, Any]:
    found = house.database.recordings.find({"user_id": user_id}).sort("created_at", -1)
    page = await found.limit(min(page_size, 100)).to_list()
    return {"recordings": [{"id": recording.pop("_id"), **recording} for recording in page]}


@routes.get("/recordings/{recording_id}/audio")
async def recording_audio(house: OpenHouse, user_id: UserId, recording_id: str) -> FileResponse:
    found = await house.database.recordings.find_one({"_id": recording_id, "user_id": user_id})
    if found is None:
        raise refused(404, "RECORDING_NOT_FOUND", "There is no such recording.")
    path = house.settings.folder / "recordings" / f"{recording_id}.mp3"
    return FileResponse(path, media_type="audio/mpeg")


async def health() -> dict[str, str]:
    return {"status": "ok"}


def application(settings: Settings) -> FastAPI:
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with open_house(settings) as app.state.house:
            yield

    app = FastAPI(lifespan=life)
    app.include_router(accounts.routes)
    app.include_router(routes)
    app.add_api_route("/healthz", health)
    app.add_exception_handler(ProviderFailed, _provider_failed)
    return app


async def _provider_failed(_: Request, failure: Exception) -> JSONResponse:
    return JSONResponse({"detail": {"error": "PROVIDER_FAILED", "message": str(failure)}}, 502)


def _seconds(sample: bytes) -> float:
    """Decoded, not believed."""
    try:
        with av.open(io.BytesIO(sample)) as container:
            return float(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))
    except (av.error.FFmpegError, IndexError):
        raise refused(415, "SAMPLE_UNREADABLE", "This is no recording.") from None
