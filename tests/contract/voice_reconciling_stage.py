"""A pool on real stores and a provider that can misbehave, with a clock that can be moved."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from dev.simulator.remote import Simulator
from services.kernel.cache import cache_client
from services.kernel.database import database_client
from services.voice import mongo, valkey
from services.voice.domain import Attempt, Clone, Consent, Sample, SealedBlob, Voice
from services.voice.mongo_slots import MongoSlots
from services.voice.policy import Rules
from services.voice.ports import Allowance, ClonedVoice, HeldVoice, NormalisedSample
from services.voice.providers.elevenlabs import ElevenLabsProvider, open_elevenlabs
from services.voice.reconciling import ReconcileRules, Reconciliation, Reconciling
from services.voice.righting import Sides
from services.voice.slots import Slot, SlotState

UNKNOWN = timedelta(minutes=2)
ATTEMPT_LASTS = timedelta(minutes=1)
SPEECH = NormalisedSample("h1", b"\0\0" * 100, 24_000, b"an mp3 of speech", 42.0, True)


async def nothing() -> None:
    """Happens most of the time."""


@dataclass
class Watched:
    """The provider itself; what happens while it is asked is up to the test."""

    provider: ElevenLabsProvider
    before_list: Callable[[], Awaitable[object]] = nothing
    after_list: Callable[[], Awaitable[object]] = nothing
    not_listed_yet: frozenset[str] = frozenset()
    before_discard: Callable[[], Awaitable[object]] = nothing
    name: str = ElevenLabsProvider.name
    engine: str = ElevenLabsProvider.engine
    voice_source: str = ElevenLabsProvider.voice_source
    pooled: bool = True

    async def clone(self, sample: NormalisedSample, user_id: str, attempt_id: str) -> ClonedVoice:
        return await self.provider.clone(sample, user_id, attempt_id)

    async def discard(self, engine_voice_id: str) -> None:
        await self.before_discard()
        await self.provider.discard(engine_voice_id)

    async def held(self) -> Sequence[HeldVoice]:
        await self.before_list()
        found = await self.provider.held()
        await self.after_list()
        return [voice for voice in found if voice.engine_voice_id not in self.not_listed_yet]

    async def has(self, engine_voice_id: str) -> bool:
        return await self.provider.has(engine_voice_id)

    async def rename(self, engine_voice_id: str, name: str) -> None:
        await self.provider.rename(engine_voice_id, name)

    async def allowance(self) -> Allowance:
        return await self.provider.allowance()


@dataclass
class Stage:
    voices: mongo.MongoVoices
    slots: MongoSlots
    pools: Any
    habits: valkey.ValkeyHabits
    provider: Watched
    simulator: Simulator
    # As the database keeps it.
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def reconciling(self, **changes: Any) -> Reconciling:
        sides = Sides(self.voices, self.slots, self.habits, self.provider)
        return Reconciling(sides, ReconcileRules(UNKNOWN, **changes), lambda: self.now)

    async def reconcile(self, **changes: Any) -> Reconciliation:
        return await self.reconciling(**changes).reconcile()

    async def stored(self, seen: Voice, made: Voice) -> Voice:
        assert await self.voices.replace(seen, made)
        return made

    async def sampled(self, user_id: str = "", sample_hash: str = "h1") -> Voice:
        """A user who has a sample, and no clone."""
        voice = Voice(user_id or f"u-{uuid4()}")
        return await self.stored(voice, replace(voice, revision=1, fence=1, sample=sample(sample_hash)))

    async def claimed(self, voice: Voice, sample_hash: str = "h1") -> Voice:
        """An attempt is written down and has a place; the add is about to be sent."""
        expires_at = self.now + ATTEMPT_LASTS
        attempt = Attempt(str(uuid4()), self.provider.name, expires_at, sample_hash)
        made = await self.stored(voice, voice.claimed(attempt, self.now))
        place = Slot(attempt.attempt_id, voice.user_id, sample_hash, SlotState.ADDING, self.now)
        assert await self.slots.take(place)
        return made

    async def added(self, voice: Voice) -> str:
        """The provider has the voice now, and has said so."""
        attempt = attempt_of(voice)
        made = await self.provider.clone(SPEECH, voice.user_id, attempt.attempt_id)
        return made.engine_voice_id

    async def holding(self, user_id: str = "") -> Voice:
        """A user whose clone is at the provider, from beginning to end."""
        claimed = await self.claimed(await self.sampled(user_id))
        return await self.held(claimed, await self.added(claimed))

    async def held(self, voice: Voice, engine_voice_id: str) -> Voice:
        attempt = attempt_of(voice)
        made = await self.stored(voice, voice.regained(self.clone(voice, engine_voice_id), self.now))
        assert await self.slots.change(attempt.attempt_id, SlotState.HELD, self.now, engine_voice_id)
        return made

    def clone(self, voice: Voice, engine_voice_id: str) -> Clone:
        attempt_id, name = attempt_of(voice).attempt_id, self.provider.name
        return Clone(
            attempt_id, name, name, engine_voice_id, "provider_voice_id", True, None, self.now - UNKNOWN
        )

    async def leaving(self, voice: Voice) -> Voice:
        """Somebody is about to remove its clone, and dies."""
        assert voice.clone is not None
        made = await self.stored(voice, voice.evicted(self.now))
        named = voice.clone.engine_voice_id
        assert await self.slots.change(voice.clone.clone_id, SlotState.LEAVING, self.now, named)
        return made

    async def voice_of_another(self, labels: dict[str, str]) -> str:
        """Somebody else uses the same account."""
        async with httpx.AsyncClient(base_url=self.simulator.url, headers={"xi-api-key": "theirs"}) as http:
            fields = {"name": "theirs", "labels": json.dumps(labels)}
            made = await http.post("/v1/voices/add", data=fields, files={"files": ("a.mp3", b"a")})
        return str(made.raise_for_status().json()["voice_id"])

    async def there(self) -> dict[str, str]:
        """Our voices at the provider, and whose they are, as it sees them."""
        voices = (await self.simulator.audit())["voices"]
        return {
            voice["voice_id"]: voice["labels"]["newvisions_user"]
            for voice in voices
            if {"newvisions_user", "newvisions_attempt"} <= voice["labels"].keys()
        }

    async def named(self) -> dict[str, str]:
        """The same, as documents see it."""
        held = await self.voices.held_at(self.provider.name)
        return {voice.clone.engine_voice_id: voice.user_id for voice in held if voice.clone}

    async def placed(self) -> dict[str, str]:
        """The same, as the places see it; in whatever state they are."""
        slots = (await self.slots.read()).slots
        return {
            slot.engine_voice_id or slot.attempt_id: slot.user_id
            if slot.state is SlotState.HELD
            else str(slot.state)
            for slot in slots
        }

    async def agree(self) -> dict[str, str]:
        """What all three see, which is the same."""
        there = await self.there()
        assert await self.named() == there
        assert await self.placed() == there
        return there


def attempt_of(voice: Voice) -> Attempt:
    assert voice.attempt is not None
    return voice.attempt


def sample(sample_hash: str = "h1") -> Sample:
    consent = Consent("I agree.", datetime(2030, 5, 4, tzinfo=UTC), "test")
    return Sample(sample_hash, 36.0, 9, True, SealedBlob(f"samples/{uuid4()}", "k1"), consent)


@asynccontextmanager
async def open_stage(
    mongo_url: str, valkey_url: str, simulator: Simulator, folder: Path
) -> AsyncIterator[Stage]:
    key_file = folder / "elevenlabs"
    key_file.write_text("a-key-of-ours\n")
    async with (
        database_client(mongo_url, connections=8, seconds=10) as client,
        cache_client(valkey_url, seconds=5) as cache,
        open_elevenlabs(simulator.url, key_file) as provider,
    ):
        database = client[f"voice_{uuid4().hex[:12]}"]
        voices = mongo.MongoVoices(database["voices"])
        slots = MongoSlots(database["pools"], provider.name)
        await voices.prepare()
        await slots.prepare()
        stage = Stage(
            voices,
            slots,
            database["pools"],
            valkey.ValkeyHabits(cache, Rules()),
            Watched(provider),
            simulator,
        )
        await slots.refreshed(await provider.allowance(), 0, None, stage.now)
        yield stage
