"""Replicas of the voice service that keep their voices at a simulated provider, for their tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis

from dev.simulator.options import Options
from dev.simulator.plans import PLANS
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from newvisions.voice.v1 import voice_service_pb2 as pb
from newvisions.voice.v1.voice_service_pb2_grpc import VoiceServiceStub
from services.kernel.database import database_client
from services.voice import mongo
from services.voice.blobs import SealedBlobs, open_store, read_keys
from services.voice.domain import Consent, Sample, Voice
from tests import samples
from tests.integration.voice_stage import Enrolments, open_replica, open_stage

# A database of the cache that no other stage uses.
_CACHE = 7
SMALL = replace(PLANS["creator"], slots=3, adds=20)


@dataclass
class PoolStage:
    """`voice` is the first of the `replicas`."""

    replicas: list[VoiceServiceStub]
    simulator: Simulator
    enrolments: Enrolments
    documents: Any
    pools: Any
    cache: Redis
    environment: dict[str, str]
    voices: mongo.MongoVoices
    blobs: SealedBlobs
    folder: Path

    async def begin(self, **limits: object) -> None:
        """As on the first day: nobody has a voice, and the plan is new."""
        await self.simulator.reset(**{"slots": SMALL.slots, "adds": SMALL.adds, "latency": 0, **limits})
        await self.documents.delete_many({})
        await self.pools.delete_many({})
        await self.cache.flushdb()
        self.enrolments.count, self.enrolments.busy = 0, False

    @property
    def voice(self) -> VoiceServiceStub:
        return self.replicas[0]

    async def given(self, *, held: bool = False, mp3: bytes = b"ID3 a recording") -> str:
        """A user with a stored sample, and with a voice at the provider when it is `held`."""
        user_id, now = f"user-{uuid4()}", datetime.now(UTC)
        audio = await self.blobs.put(f"samples/{uuid4()}", mp3)
        sample = Sample(uuid4().hex * 2, 36.0, len(mp3), False, audio, Consent("I agree.", now, "test"))
        made = Voice(user_id, revision=1, sample=sample, changed_at=now)
        assert await self.voices.replace(Voice(user_id), made)
        if held:
            lease = await self.lease(user_id)
            assert lease.voice_source == "provider_voice_id"
            await self.forget_performances(user_id)
        return user_id

    async def lease(
        self,
        user_id: str,
        replica: int = 0,
        performance_id: str = "",
        *,
        waits: bool = True,
        overflow: bool = False,
    ) -> pb.LeaseVoiceResponse:
        request = pb.LeaseVoiceRequest(
            user_id=user_id,
            performance_id=performance_id or str(uuid4()),
            without_waiting=not waits,
            overflow=overflow,
        )
        answer: pb.LeaseVoiceResponse = await self.replicas[replica].LeaseVoice(request, timeout=30)
        return answer

    async def forget_performances(self, *user_ids: str) -> None:
        """As if the performances of these users were over for long."""
        for user_id in user_ids:
            await self.cache.delete(f"voice:pins:{user_id}", f"voice:habit:{user_id}")

    async def document(self, user_id: str) -> Voice:
        return await self.voices.get(user_id)

    async def slots(self) -> dict[str, Any]:
        found = await self.pools.find_one({"_id": "elevenlabs"})
        return dict(found["slots"])

    async def held(self) -> set[str]:
        """The users whose voices are at the provider, by its own account."""
        return {voice["labels"]["newvisions_user"] for voice in (await self.simulator.audit())["voices"]}

    async def effects(self) -> list[str]:
        """What was done at the provider, in order."""
        return [effect["effect"] for effect in (await self.simulator.audit())["effects"]]

    async def consistent(self) -> None:
        """Every voice at the provider is the voice of the user that it is labelled with, and in a place."""
        voices = (await self.simulator.audit())["voices"]
        for voice in voices:
            document = await self.document(voice["labels"]["newvisions_user"])
            assert document.clone is not None, "a voice that nobody has"
            assert document.clone.engine_voice_id == voice["voice_id"]
        states = sorted(slot["state"] for slot in (await self.slots()).values())
        assert states == ["held"] * len(voices)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - it is in another process' hands
            await asyncio.sleep(0.02)


@asynccontextmanager
async def open_pool_stage(
    mongo_url: str, valkey_url: str, folder: Path, replicas: int = 1, **changes: str
) -> AsyncIterator[PoolStage]:
    """`changes` are environment variables. The plan has 3 places and 20 adds, and answers at once."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(running(Options(plan=SMALL, latency=0)))
        cache_url = f"{valkey_url.rsplit('/', 1)[0] if valkey_url.count('/') > 2 else valkey_url}/{_CACHE}"
        cache = await stack.enter_async_context(Redis.from_url(cache_url, decode_responses=True))
        await cache.flushdb()
        key = folder / "elevenlabs.key"
        key.write_text("a key")
        pooled = {
            "VOICE_PROVIDER": "elevenlabs",
            "VOICE_ELEVENLABS_API_KEY_FILE": str(key),
            "VOICE_ELEVENLABS_BASE_URL": simulator.url,
            "VOICE_ELEVENLABS_SECONDS": "1",
            "VOICE_ELEVENLABS_CLONE_SECONDS": "2",
            # Only at the start: what is seen here is what the calls themselves leave behind.
            "VOICE_RECONCILE_SECONDS": "86400",
            "VOICE_SAMPLE_WORKERS": "1",
            "VOICE_SAMPLE_QUEUE": "20",
            **changes,
        }
        one = await stack.enter_async_context(open_stage(mongo_url, cache_url, folder, **pooled))
        others = [await stack.enter_async_context(open_replica(one.environment)) for _ in range(replicas - 1)]
        database = one.documents.database
        yield PoolStage(
            [one.voice, *others],
            simulator,
            one.enrolments,
            one.documents,
            database["pools"],
            cache,
            one.environment,
            await _voices(stack, mongo_url, database.name),
            SealedBlobs(
                open_store(one.environment["VOICE_BLOB_URL"]),
                read_keys(Path(one.environment["VOICE_KEY_FILE"])),
            ),
            one.folder,
        )


async def _voices(stack: AsyncExitStack, mongo_url: str, database: str) -> mongo.MongoVoices:
    client = await stack.enter_async_context(database_client(mongo_url, connections=4, seconds=10))
    return mongo.MongoVoices(client[database]["voices"])


def upload_of(recording: bytes) -> pb.UploadVoiceFileRequest:
    request = pb.UploadVoiceFileRequest(user_id="me")
    request.file.content_type = "audio/mpeg"
    request.file.data = recording
    return request


def spoken(speaker: int = 0) -> bytes:
    """Short, because examining it takes its time."""
    return samples.speech(speaker, seconds=31.0)
