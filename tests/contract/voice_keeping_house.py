"""One user's voice on real stores, with a clock that can be moved and power that can be cut."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import obstore

from services.voice import mongo
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import Consent, SealedBlob, Voice, VoiceStoreUnavailable
from services.voice.keeping import Keeping, KeepingRules, Surroundings
from services.voice.ports import Blobs, ClonedVoice, NormalisedSample, Voices
from services.voice.works import Works

T = TypeVar("T")
NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
CONSENT = Consent("I agree.", NOW, "test")
NEVER = 10_000


@dataclass
class PowerCut:
    """All operations fail from this number on, the first of them before or after its effect."""

    at: int
    after_effect: bool = False
    done: int = 0

    async def around(self, operation: Awaitable[T]) -> T:
        self.done += 1
        if self.done < self.at or (self.done == self.at and self.after_effect):
            result = await operation
            if self.done < self.at:
                return result
        else:
            operation.close()  # type: ignore[attr-defined]
        raise VoiceStoreUnavailable("The power is out.")


@dataclass
class Provider:
    """Keeps the voices that it made, as a remote one does, and gives a profile as well."""

    cut: PowerCut
    made: set[str] = field(default_factory=set)
    during: Callable[[], Awaitable[object]] | None = None
    name: str = "remote"
    engine: str = "tone"
    voice_source: str = "provider_voice_id"
    pooled: bool = False

    async def clone(self, sample: NormalisedSample, user_id: str, attempt_id: str) -> ClonedVoice:
        if self.during:
            await self.during()
        return await self.cut.around(self._clone(attempt_id))

    async def discard(self, engine_voice_id: str) -> None:
        await self.cut.around(self._discard(engine_voice_id))

    async def _clone(self, attempt_id: str) -> ClonedVoice:
        self.made.add(f"voice-{attempt_id}")
        return ClonedVoice(f"voice-{attempt_id}", b"profile")

    async def _discard(self, engine_voice_id: str) -> None:
        self.made.discard(engine_voice_id)


class CutVoices:
    def __init__(self, voices: Voices, cut: PowerCut) -> None:
        self._voices, self._cut = voices, cut

    async def get(self, user_id: str) -> Voice:
        return await self._cut.around(self._voices.get(user_id))

    async def replace(self, seen: Voice, made: Voice) -> bool:
        return await self._cut.around(self._voices.replace(seen, made))

    async def due(self, now: datetime, limit: int) -> Sequence[Voice]:
        return await self._cut.around(self._voices.due(now, limit))


@dataclass
class DeafVoices:
    """The first voice with a clone is stored and its answer is lost; before that is noticed, something else
    happens."""

    voices: Voices
    then: Callable[[], Awaitable[object]] | None

    async def get(self, user_id: str) -> Voice:
        return await self.voices.get(user_id)

    async def replace(self, seen: Voice, made: Voice) -> bool:
        done = await self.voices.replace(seen, made)
        then = self.then
        if made.clone and then:
            self.then = None
            await then()
            raise VoiceStoreUnavailable("The answer is lost.")
        return done

    async def due(self, now: datetime, limit: int) -> Sequence[Voice]:
        return await self.voices.due(now, limit)


@dataclass
class SeenVoices:
    """Tells when a voice has been looked at."""

    voices: Voices
    seen: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, user_id: str) -> Voice:
        found = await self.voices.get(user_id)
        self.seen.set()
        return found

    async def replace(self, seen: Voice, made: Voice) -> bool:
        return await self.voices.replace(seen, made)

    async def due(self, now: datetime, limit: int) -> Sequence[Voice]:
        return await self.voices.due(now, limit)


@dataclass
class SlowBlobs:
    """Nothing that is stored has an answer, and all of it lands later."""

    blobs: Blobs
    under_way: list[tuple[str, bytes]] = field(default_factory=list)

    async def put(self, name: str, content: bytes) -> SealedBlob:
        self.under_way.append((name, content))
        raise VoiceStoreUnavailable("There is no answer.")

    async def get(self, blob: SealedBlob) -> bytes:
        return await self.blobs.get(blob)

    async def delete(self, name: str) -> None:
        await self.blobs.delete(name)

    async def land(self) -> None:
        for name, content in self.under_way:
            await self.blobs.put(name, content)


class CutBlobs:
    def __init__(self, blobs: Blobs, cut: PowerCut) -> None:
        self._blobs, self._cut = blobs, cut

    async def put(self, name: str, content: bytes) -> SealedBlob:
        return await self._cut.around(self._blobs.put(name, content))

    async def get(self, blob: SealedBlob) -> bytes:
        return await self._cut.around(self._blobs.get(blob))

    async def delete(self, name: str) -> None:
        await self._cut.around(self._blobs.delete(name))


class House:
    """What keeps no voices is as good a provider as any, as long as it can be seen what it made."""

    def __init__(self, voices: mongo.MongoVoices) -> None:
        self.user_id, self.now = f"u-{uuid4()}", NOW
        self.voices: Voices = voices
        self.store = open_store("memory:///")
        self.blobs: Blobs = SealedBlobs(self.store, Keys([os.urandom(32)]))
        self.provider = Provider(PowerCut(NEVER))
        self.works = Works()

    def keeping(self, cut: PowerCut | None = None, works: Works | None = None) -> Keeping:
        cut = self.provider.cut = cut or PowerCut(NEVER)
        around = Surroundings(
            CutVoices(self.voices, cut),
            CutBlobs(self.blobs, cut),
            Rereading(),
            {"remote": self.provider},
            works or self.works,
            lambda: self.now,
        )
        return Keeping(around, KeepingRules(timedelta(minutes=1)))

    async def stored(self) -> set[str]:
        return {item["path"] for item in obstore.list(self.store).collect()}

    async def settled(self) -> Voice:
        """After the sweeper has been round twice: the stores hold what the document names, no more."""
        for _ in range(2):
            self.now += timedelta(minutes=5)
            await self.keeping().sweep()
        voice = await self.voices.get(self.user_id)
        assert not voice.leftovers
        assert voice.attempt is None
        named = {voice.sample.audio.name} if voice.sample else set[str]()
        if voice.clone and voice.clone.profile:
            named.add(voice.clone.profile.name)
        assert await self.stored() == named
        return voice


class Rereading:
    """An MP3 sounds like its own bytes."""

    async def examine(self, recording: bytes) -> NormalisedSample:
        raise NotImplementedError

    async def reread(self, mp3: bytes) -> NormalisedSample:
        return replace(sample("reread"), mp3=mp3)


def sample(name: str) -> NormalisedSample:
    return NormalisedSample(name, b"\0\0" * 100, 24_000, name.encode() * 10, 36.0, True)
