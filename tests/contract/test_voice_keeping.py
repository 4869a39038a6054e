"""Whatever dies while a voice is made, replaced or erased, nothing is lost and nothing is left behind."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import uuid4

import obstore
import pytest

from services.voice import mongo
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import (
    Attempt,
    Consent,
    SealedBlob,
    Voice,
    VoiceChangedMeanwhile,
    VoiceStoreUnavailable,
)
from services.voice.keeping import Keeping
from services.voice.ports import ClonedVoice, NormalisedSample

T = TypeVar("T")
NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
CONSENT = Consent("I agree.", NOW, "test")


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
    pooled: bool = True

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
    def __init__(self, voices: mongo.MongoVoices, cut: PowerCut) -> None:
        self._voices, self._cut = voices, cut

    async def get(self, user_id: str) -> Voice:
        return await self._cut.around(self._voices.get(user_id))

    async def replace(self, seen: Voice, made: Voice) -> bool:
        return await self._cut.around(self._voices.replace(seen, made))

    async def due(self, now: datetime, limit: int) -> Sequence[Voice]:
        return await self._cut.around(self._voices.due(now, limit))


class CutBlobs:
    def __init__(self, blobs: SealedBlobs, cut: PowerCut) -> None:
        self._blobs, self._cut = blobs, cut

    async def put(self, name: str, content: bytes) -> SealedBlob:
        return await self._cut.around(self._blobs.put(name, content))

    async def get(self, blob: SealedBlob) -> bytes:
        return await self._cut.around(self._blobs.get(blob))

    async def delete(self, name: str) -> None:
        await self._cut.around(self._blobs.delete(name))


NEVER = 10_000


class House:
    """One user's voice on real stores, with a clock that can be moved and power that can be cut."""

    def __init__(self, voices: mongo.MongoVoices) -> None:
        self.user_id, self.now = f"u-{uuid4()}", NOW
        self.voices, self.store = voices, open_store("memory:///")
        self.blobs = SealedBlobs(self.store, Keys([os.urandom(32)]))
        self.provider = Provider(PowerCut(NEVER))

    def keeping(self, cut: PowerCut | None = None) -> Keeping:
        cut = self.provider.cut = cut or PowerCut(NEVER)
        return Keeping(
            CutVoices(self.voices, cut),
            CutBlobs(self.blobs, cut),
            {"remote": self.provider},
            timedelta(minutes=1),
            lambda: self.now,
        )

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


@pytest.fixture(scope="module")
async def voices(mongo_url: str) -> AsyncIterator[mongo.MongoVoices]:
    async with mongo.client(mongo_url, connections=8, seconds=10) as client:
        found = mongo.MongoVoices(client[f"voice_{uuid4().hex[:12]}"]["voices"], connections=8)
        await found.prepare()
        yield found


@pytest.fixture
def house(voices: mongo.MongoVoices) -> House:
    return House(voices)


def sample(name: str) -> NormalisedSample:
    return NormalisedSample(name, b"\0\0" * 100, 24_000, name.encode() * 10, 36.0, True)


def known(voice: Voice) -> set[str]:
    return {voice.clone.engine_voice_id} if voice.clone else set()


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 12))
async def test_a_first_upload_that_dies_anywhere_is_there_or_not(
    house: House, at: int, after_effect: bool
) -> None:
    with suppress(VoiceStoreUnavailable):
        await house.keeping(PowerCut(at, after_effect)).keep(house.user_id, sample("first"), CONSENT)
    voice = await house.settled()
    assert voice.sample is None or voice.sample.hash == "first"
    outcome = await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    assert outcome.action == ("unchanged" if voice.sample else "created")


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 14))
async def test_a_second_upload_that_dies_anywhere_leaves_one_of_the_two_voices(
    house: House, at: int, after_effect: bool
) -> None:
    await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    with suppress(VoiceStoreUnavailable):
        await house.keeping(PowerCut(at, after_effect)).keep(house.user_id, sample("second"), CONSENT)
    voice = await house.settled()
    assert voice.sample is not None
    assert voice.sample.hash in {"first", "second"}
    assert known(voice) <= house.provider.made


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 8))
async def test_an_erasure_that_dies_anywhere_can_be_repeated_until_nothing_is_left(
    house: House, at: int, after_effect: bool
) -> None:
    await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    with suppress(VoiceStoreUnavailable):
        await house.keeping(PowerCut(at, after_effect)).erase(house.user_id)
    await house.keeping().erase(house.user_id)
    assert await house.stored() == set()
    assert house.provider.made == set()
    assert (await house.voices.get(house.user_id)).revision == 0


async def test_an_upload_whose_caller_hung_up_makes_way_at_once(house: House) -> None:
    keeping = house.keeping()
    begun = asyncio.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    house.provider.during = forever
    abandoned = asyncio.create_task(keeping.keep(house.user_id, sample("first"), CONSENT))
    await asyncio.wait_for(begun.wait(), 10)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    house.provider.during = None
    assert await house.stored() == set()
    assert (await keeping.keep(house.user_id, sample("second"), CONSENT)).action == "created"


async def test_an_upload_that_was_taken_for_dead_does_not_overwrite_the_one_that_followed(
    house: House,
) -> None:
    claimed = Voice(house.user_id).claimed(Attempt(str(uuid4()), "remote", NOW + timedelta(minutes=1)), NOW)
    assert await house.voices.replace(Voice(house.user_id), claimed)
    house.now += timedelta(minutes=2)
    keeping = house.keeping()
    assert (await keeping.keep(house.user_id, sample("second"), CONSENT)).action == "created"
    late = claimed.abandoned(NOW)
    assert not await house.voices.replace(claimed, late)
    voice = await house.settled()
    assert voice.sample is not None
    assert voice.sample.hash == "second"


async def test_an_erasure_during_an_upload_wins_and_nothing_is_left(house: House) -> None:
    keeping = house.keeping()
    house.provider.during = lambda: keeping.erase(house.user_id)
    with pytest.raises(VoiceChangedMeanwhile):
        await keeping.keep(house.user_id, sample("first"), CONSENT)
    assert await house.stored() == set()
    assert house.provider.made == set()
    assert (await house.settled()).revision == 0


@pytest.mark.parametrize("at", range(5, 16))
async def test_what_an_upload_makes_after_its_erasure_and_before_its_death_is_removed_later(
    house: House, at: int
) -> None:
    cut = PowerCut(at)
    keeping, elsewhere = house.keeping(cut), house.keeping()
    house.provider.cut, house.provider.during = cut, lambda: elsewhere.erase(house.user_id)
    with suppress(VoiceChangedMeanwhile, VoiceStoreUnavailable):
        await keeping.keep(house.user_id, sample("first"), CONSENT)
    assert (await house.settled()).revision == 0
