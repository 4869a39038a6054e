"""Whatever happens while keys are rotated, every blob opens, and in the end with the new key alone."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

import obstore
import pytest

from services.kernel.database import database_client
from services.voice import mongo
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import (
    Attempt,
    Clone,
    Consent,
    Sample,
    SealedBlob,
    Voice,
    VoiceStoreUnavailable,
)
from services.voice.rotation import Rotated, rotate_keys
from services.voice.usecases import Reading

pytestmark = pytest.mark.slow

T = TypeVar("T")
NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
OLD, NEW = os.urandom(32), os.urandom(32)
NOTHING = Rotated(resealed=0, already=0, missing=0, unopened=0, postponed=0)


@dataclass
class Place:
    """The stores of one deployment, in which samples are told apart by what they contain."""

    voices: mongo.MongoVoices
    store: Any = field(default_factory=lambda: open_store("memory:///"))
    now: datetime = NOW

    def blobs(self, *keys: bytes) -> SealedBlobs:
        return SealedBlobs(self.store, Keys(list(keys)))

    async def upload(self, user_id: str, content: bytes, blobs: SealedBlobs) -> None:
        """As an upload does it: claimed, made, held; the rest is left to a sweeper."""
        while True:
            voice, attempt = await self.voices.get(user_id), self.attempt()
            claimed = voice.claimed(attempt, self.now)
            if voice.is_claimed(self.now) or not await self.voices.replace(voice, claimed):
                await asyncio.sleep(0)
                continue
            audio = await blobs.put(attempt.audio_name, content)
            profile = await blobs.put(attempt.profile_name, content)
            sample = Sample("ab" * 32, 36.0, len(content), True, audio, Consent("I agree.", NOW, "test"))
            if await self.voices.replace(claimed, claimed.holding(sample, clone(attempt, profile), self.now)):
                return

    async def stand_by(self, user_id: str, content: bytes, blobs: SealedBlobs) -> None:
        voice, attempt = await self.voices.get(user_id), self.attempt()
        claimed = voice.claimed(attempt, self.now)
        assert await self.voices.replace(voice, claimed)
        profile = await blobs.put(attempt.profile_name, content)
        assert await self.voices.replace(claimed, claimed.standing_by(clone(attempt, profile), self.now))

    async def rotate(self, *keys: bytes) -> Rotated:
        return await rotate_keys(self.voices, self.blobs(*keys), lambda: self.now)

    def attempt(self) -> Attempt:
        return Attempt(str(uuid4()), "local", self.now + timedelta(minutes=1))

    async def stored(self) -> set[str]:
        return {item["path"] for item in obstore.list(self.store).collect()}

    async def named(self, user_ids: Sequence[str]) -> set[str]:
        """All that documents hold, or know to be left over."""
        names = set[str]()
        for voice in [await self.voices.get(user_id) for user_id in user_ids]:
            names |= {blob.name for blob in voice.blobs}
            names |= {name for left in voice.leftovers for name in left.blobs}
            if voice.attempt:
                names |= {voice.attempt.audio_name, voice.attempt.profile_name}
        return names

    async def contents(self, user_id: str, *keys: bytes) -> set[bytes]:
        voice, blobs = await self.voices.get(user_id), self.blobs(*keys)
        return {await blobs.get(blob) for blob in voice.blobs}


def clone(attempt: Attempt, profile: SealedBlob) -> Clone:
    return Clone(attempt.attempt_id, "local", "tone", "engine's", "local_clone", False, profile, NOW)


@pytest.fixture
async def place(mongo_url: str) -> AsyncIterator[Place]:
    async with database_client(mongo_url, connections=16, seconds=10) as client:
        voices = mongo.MongoVoices(client[f"voice_{uuid4().hex[:12]}"]["voices"])
        await voices.prepare()
        yield Place(voices)


async def users(place: Place, count: int) -> list[str]:
    made = [f"u-{number:02}" for number in range(count)]
    for user_id in made:
        await place.upload(user_id, user_id.encode(), place.blobs(OLD))
    return made


async def test_all_is_sealed_anew_and_the_old_key_may_go(place: Place) -> None:
    everybody = await users(place, 20)
    await place.stand_by("u-03", b"u-03", place.blobs(OLD))
    await place.upload("u-20", b"u-20", place.blobs(NEW, OLD))
    before = {user_id: await place.voices.get(user_id) for user_id in everybody}
    rotated = await place.rotate(NEW, OLD)
    assert rotated == replace(NOTHING, resealed=41)
    assert rotated.old_keys_may_go
    for user_id in (*everybody, "u-20"):
        assert await place.contents(user_id, NEW) == {user_id.encode()}
    for user_id, voice in before.items():
        now_there = await place.voices.get(user_id)
        assert (now_there.fence, now_there.changed_at) == (voice.fence, voice.changed_at)
        assert now_there.clone
        assert voice.clone
        assert now_there.clone.clone_id == voice.clone.clone_id
    assert await place.stored() == await place.named([*everybody, "u-20"])
    assert len(await place.stored()) == 2 * 21 + 1
    assert await place.rotate(NEW, OLD) == NOTHING
    assert await place.rotate(NEW) == NOTHING


async def test_who_has_just_read_the_document_finds_the_sample_all_the_same(place: Place) -> None:
    (user_id,) = await users(place, 1)
    stale = await place.voices.get(user_id)
    await place.rotate(NEW, OLD)

    class JustRead(mongo.MongoVoices):
        def __init__(self) -> None:
            self.answers = [stale]

        async def get(self, user_id: str) -> Voice:
            return self.answers.pop() if self.answers else await place.voices.get(user_id)

    _, _, mp3 = await Reading(JustRead(), place.blobs(NEW, OLD)).sample(user_id)
    assert mp3 == user_id.encode()


@dataclass
class PowerCut:
    """From this operation on nothing is done any more; the first one takes effect, or does not."""

    at: int
    after_effect: bool
    done: int = 0

    async def around(self, operation: Awaitable[T]) -> T:
        self.done += 1
        if self.done < self.at:
            return await operation
        if self.done == self.at and self.after_effect:
            await operation
        else:
            operation.close()  # type: ignore[attr-defined]
        raise VoiceStoreUnavailable("The power is out.")


class CutVoices(mongo.MongoVoices):
    def __init__(self, voices: mongo.MongoVoices, cut: PowerCut) -> None:
        self._whole, self._cut = voices, cut

    async def get(self, user_id: str) -> Voice:
        return await self._cut.around(self._whole.get(user_id))

    async def replace(self, seen: Voice, made: Voice) -> bool:
        return await self._cut.around(self._whole.replace(seen, made))

    async def sealed_otherwise(self, key_id: str, after: str, limit: int) -> Sequence[Voice]:
        return await self._cut.around(self._whole.sealed_otherwise(key_id, after, limit))


class CutBlobs(SealedBlobs):
    def __init__(self, blobs: SealedBlobs, cut: PowerCut) -> None:
        self._whole, self._cut = blobs, cut

    @property
    def sealing_id(self) -> str:
        return self._whole.sealing_id

    async def put(self, name: str, content: bytes) -> SealedBlob:
        return await self._cut.around(self._whole.put(name, content))

    async def get(self, blob: SealedBlob) -> bytes:
        return await self._cut.around(self._whole.get(blob))

    async def delete(self, name: str) -> None:
        await self._cut.around(self._whole.delete(name))


@pytest.mark.parametrize("after_effect", [False, True])
async def test_wherever_it_dies_nothing_is_lost_and_the_next_run_finishes(
    place: Place, after_effect: bool
) -> None:
    for at in range(1, 60):
        everybody = await users(place, 2)
        cut = PowerCut(at, after_effect)
        try:
            await rotate_keys(
                CutVoices(place.voices, cut), CutBlobs(place.blobs(NEW, OLD), cut), lambda: place.now
            )
        except VoiceStoreUnavailable:
            assert await place.stored() <= await place.named(everybody)
            for user_id in everybody:
                assert await place.contents(user_id, NEW, OLD) == {user_id.encode()}
        else:
            assert at > 20
            return
        place.now += timedelta(minutes=5)
        assert (await place.rotate(NEW, OLD)).old_keys_may_go
        assert await place.stored() <= await place.named(everybody)
        for user_id in everybody:
            assert await place.contents(user_id, NEW) == {user_id.encode()}
    pytest.fail("it never came to its end")


async def test_uploads_and_a_second_rotation_beside_it_lose_nothing(place: Place) -> None:
    everybody, new = await users(place, 12), place.blobs(NEW, OLD)
    uploads = [place.upload(user_id, b"another " + user_id.encode(), new) for user_id in everybody[::2]]
    await asyncio.gather(place.rotate(NEW, OLD), *uploads, place.rotate(NEW, OLD))
    assert (await place.rotate(NEW, OLD)).old_keys_may_go
    for number, user_id in enumerate(everybody):
        said = user_id.encode() if number % 2 else b"another " + user_id.encode()
        assert await place.contents(user_id, NEW) == {said}
    assert await place.stored() <= await place.named(everybody)


class Disturbed(SealedBlobs):
    """Something happens while one of the blobs is put."""

    def __init__(self, place: Place, during: Callable[[], Awaitable[object]], at: int = 1) -> None:
        super().__init__(place.store, Keys([NEW, OLD]))
        self._during, self._at = during, at

    async def put(self, name: str, content: bytes) -> SealedBlob:
        self._at -= 1
        if self._at == 0:
            await self._during()
        return await super().put(name, content)


async def test_a_voice_that_is_erased_meanwhile_stays_erased_with_all_its_blobs(place: Place) -> None:
    (user_id,) = await users(place, 1)

    async def erase() -> None:
        voice = await place.voices.get(user_id)
        assert await place.voices.replace(voice, voice.erased(place.now))
        for blob in voice.blobs:
            await place.blobs(OLD).delete(blob.name)

    rotated = await rotate_keys(place.voices, Disturbed(place, erase), lambda: place.now)
    assert rotated == replace(NOTHING, already=1)
    assert await place.stored() == set()
    assert (await place.voices.get(user_id)).sample is None


async def changed_meanwhile(place: Place, change: Callable[[Voice], Voice]) -> Voice:
    """The voice after a change while its profile, the second blob, was sealed anew."""
    (user_id,) = await users(place, 1)

    async def during() -> None:
        voice = await place.voices.get(user_id)
        assert await place.voices.replace(voice, change(voice))

    await rotate_keys(place.voices, Disturbed(place, during, at=2), lambda: place.now)
    assert await place.stored() <= await place.named([user_id])
    assert await place.contents(user_id, NEW) == {user_id.encode()}
    return await place.voices.get(user_id)


async def test_a_clone_that_is_marked_meanwhile_stays_marked(place: Place) -> None:
    until = place.now + timedelta(seconds=5)
    voice = await changed_meanwhile(place, lambda voice: voice.marked(until, place.now))
    assert voice.clone
    assert voice.clone.leaving_until == until
    assert voice.attempt is None


async def test_a_clone_that_is_evicted_meanwhile_does_not_come_back(place: Place) -> None:
    voice = await changed_meanwhile(place, lambda voice: voice.evicted(place.now))
    assert (voice.clone, voice.attempt) == (None, None)
    assert len(await place.stored()) == 2


async def test_a_rotation_that_is_called_off_leaves_the_voice_free_and_no_blob_behind(place: Place) -> None:
    (user_id,) = await users(place, 1)
    reached, stored = asyncio.Event(), await place.stored()

    async def wait_forever() -> None:
        reached.set()
        await asyncio.Event().wait()

    blobs = Disturbed(place, wait_forever)
    rotating = asyncio.create_task(rotate_keys(place.voices, blobs, lambda: place.now))
    await asyncio.wait_for(reached.wait(), 10)
    rotating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rotating
    assert (await place.voices.get(user_id)).attempt is None
    assert await place.stored() == stored


async def test_a_voice_that_was_taken_over_meanwhile_keeps_what_it_was_given(place: Place) -> None:
    (user_id,) = await users(place, 1)

    async def take_over() -> None:
        place.now += timedelta(minutes=5)
        await place.upload(user_id, b"another", place.blobs(NEW, OLD))

    await rotate_keys(place.voices, Disturbed(place, take_over), lambda: place.now)
    assert await place.contents(user_id, NEW) == {b"another"}
    assert await place.stored() <= await place.named([user_id])


async def test_what_cannot_be_opened_is_counted_and_stops_nobody_else(place: Place) -> None:
    everybody = await users(place, 4)
    first, second = [await place.voices.get(user_id) for user_id in everybody[:2]]
    await place.blobs(OLD).delete(first.blobs[0].name)
    await place.store.put_async(second.blobs[1].name, os.urandom(60))
    await place.upload("u-10", b"u-10", place.blobs(os.urandom(32)))
    expected = Rotated(resealed=6, already=0, missing=1, unopened=3, postponed=0)
    assert await place.rotate(NEW, OLD) == expected
    assert await place.rotate(NEW, OLD) == replace(expected, resealed=0)
    for user_id in everybody[2:]:
        assert await place.contents(user_id, NEW) == {user_id.encode()}


async def test_a_voice_that_is_being_changed_is_left_for_the_next_time(place: Place) -> None:
    (user_id,) = await users(place, 1)
    voice = await place.voices.get(user_id)
    assert await place.voices.replace(voice, voice.claimed(place.attempt(), place.now))
    rotated = await place.rotate(NEW, OLD)
    assert rotated == replace(NOTHING, postponed=1)
    assert not rotated.old_keys_may_go
    place.now += timedelta(minutes=2)
    assert await place.rotate(NEW, OLD) == replace(NOTHING, resealed=2)
