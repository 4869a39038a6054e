"""What the stores of the voice service promise, on real servers and real folders."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from services.kernel.cache import cache_client
from services.kernel.database import database_client
from services.voice import mongo, valkey
from services.voice.blobs import KeyFileUnusable, Keys, SealedBlobs, open_store, read_keys
from services.voice.domain import (
    Attempt,
    BlobMissing,
    Clone,
    Consent,
    Leftover,
    PinsUnavailable,
    Sample,
    SealedBlob,
    Voice,
    VoiceStoreUnavailable,
)
from services.voice.profiles import Profiles
from services.voice.settings import Settings
from tests.contract.losing_way import losing_way

NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
async def voices(mongo_url: str) -> AsyncIterator[mongo.MongoVoices]:
    async with database_client(mongo_url, connections=4, seconds=10) as client:
        found = mongo.MongoVoices(client[f"voice_{uuid4().hex[:12]}"]["voices"])
        await found.prepare()
        yield found


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return open_store((tmp_path / "not made yet").as_uri() if request.param == "file" else "memory:///")


def attempt() -> Attempt:
    return Attempt(str(uuid4()), "local", NOW + timedelta(minutes=1))


def whole(user_id: str) -> Voice:
    made, audio = attempt(), SealedBlob(f"samples/{uuid4()}", "k1")
    sample = Sample("ab" * 32, 36.25, 580_000, True, audio, Consent("I agree.", NOW, "app/1"))
    profile = SealedBlob(made.profile_name, "k1")
    clone = Clone(made.attempt_id, "local", "tone", "engine's", "local_clone", False, profile, NOW)
    return Voice(user_id).claimed(made, NOW).holding(sample, clone, NOW).claimed(attempt(), NOW)


def promoted(user_id: str) -> Voice:
    """With a voice at a provider that is about to be removed, a standby, and something left over."""
    held = whole(user_id).abandoned(NOW)
    again = replace(attempt(), sample_hash="ab" * 32)
    clone = Clone(again.attempt_id, "remote", "remote", "voice", "provider_voice_id", True, None, NOW)
    voice = held.claimed(again, NOW).regained(clone, NOW).marked(NOW + timedelta(seconds=10), NOW)
    left = Leftover((), "remote", "old", None, "attempt", NOW + timedelta(minutes=3))
    return replace(voice.claimed(again, NOW), leftovers=(*voice.leftovers, left))


async def test_a_voice_comes_back_as_it_was_stored(voices: mongo.MongoVoices) -> None:
    voice = whole(f"u-{uuid4()}")
    assert (await voices.get(voice.user_id)).empty
    for made in (voice, voice.abandoned(NOW), voice.erased(NOW)):
        seen = await voices.get(voice.user_id)
        assert await voices.replace(seen, made)
        assert await voices.get(voice.user_id) == made


async def test_a_voice_at_a_provider_comes_back_as_it_was_stored(voices: mongo.MongoVoices) -> None:
    voice = promoted(f"u-{uuid4()}")
    for made in (voice, voice.evicted(NOW), voice.erased(NOW)):
        seen = await voices.get(voice.user_id)
        assert await voices.replace(seen, made)
        assert await voices.get(voice.user_id) == made


async def test_documents_of_the_release_before_are_read(voices: mongo.MongoVoices, mongo_url: str) -> None:
    """Without a standby, the hash in the attempt, the mark on the clone, and the place of a leftover."""
    voice = whole(f"u-{uuid4()}")
    voice = replace(voice, leftovers=(Leftover(("samples/old",), "local", "old"),))
    assert await voices.replace(Voice(voice.user_id), voice)
    gone = ("standby", "clone.leaving_until", "attempt.sample_hash")
    left = {"blobs": ["samples/old"], "provider": "local", "engine_voice_id": "old", "until": None}
    await voices._voices.update_one(
        {"_id": voice.user_id}, {"$unset": dict.fromkeys(gone, ""), "$set": {"leftovers": [left]}}
    )
    assert await voices.get(voice.user_id) == voice


async def test_a_change_of_what_is_no_longer_stored_changes_nothing(voices: mongo.MongoVoices) -> None:
    voice = whole(f"u-{uuid4()}")
    assert await voices.replace(Voice(voice.user_id), voice)
    assert not await voices.replace(Voice(voice.user_id), whole(voice.user_id))
    newer = voice.abandoned(NOW)
    assert await voices.replace(voice, newer)
    assert not await voices.replace(voice, voice.erased(NOW))
    assert not await voices.replace(voice, replace(Voice(voice.user_id), revision=voice.revision + 1))
    assert await voices.get(voice.user_id) == newer


async def test_of_many_changes_at_once_one_wins(voices: mongo.MongoVoices) -> None:
    seen = Voice(f"u-{uuid4()}")
    for _ in range(3):
        tried = [seen.abandoned(NOW).claimed(attempt(), NOW) for _ in range(16)]
        won = await asyncio.gather(*(voices.replace(seen, made) for made in tried))
        assert won.count(True) == 1
        seen = await voices.get(seen.user_id)
        assert seen == tried[won.index(True)]


async def test_an_empty_voice_is_not_kept(voices: mongo.MongoVoices) -> None:
    claimed = Voice(f"u-{uuid4()}").claimed(attempt(), NOW)
    assert await voices.replace(Voice(claimed.user_id), claimed)
    assert await voices.replace(claimed, claimed.abandoned(NOW, answered=True).cleaned(NOW))
    assert (await voices.get(claimed.user_id)).revision == 0


async def test_voices_are_due_when_their_time_has_come(voices: mongo.MongoVoices) -> None:
    claimed = Voice(f"u-{uuid4()}").claimed(replace(attempt(), expires_at=NOW - timedelta(days=9)), NOW)
    assert await voices.replace(Voice(claimed.user_id), claimed)
    assert list(await voices.due(NOW - timedelta(days=8), 32)) == [claimed]
    assert list(await voices.due(NOW - timedelta(days=10), 32)) == []


async def test_a_database_that_is_away_is_said_to_be_unavailable() -> None:
    async with database_client("mongodb://127.0.0.1:9/", connections=1, seconds=0.2) as client:
        away = mongo.MongoVoices(client["voice"]["voices"])
        with pytest.raises(VoiceStoreUnavailable):
            await away.get("ada")


async def test_a_blob_opens_to_what_was_put(store: Any) -> None:
    blobs = SealedBlobs(store, Keys([os.urandom(32)]))
    content = os.urandom(100_000)
    blob = await blobs.put("samples/one", content)
    assert await blobs.get(blob) == content
    for _ in range(2):
        await blobs.delete(blob.name)
    with pytest.raises(BlobMissing):
        await blobs.get(blob)


async def test_a_blob_opens_only_whole_in_its_place_and_with_its_key(store: Any) -> None:
    key = os.urandom(32)
    blobs = SealedBlobs(store, Keys([key]))
    blob = await blobs.put("samples/one", b"secret")
    sealed = bytes((await store.get_async("samples/one")).bytes())
    await store.put_async("samples/two", sealed)
    await store.put_async("samples/three", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    for name in ("two", "three"):
        with pytest.raises(VoiceStoreUnavailable):
            await blobs.get(SealedBlob(f"samples/{name}", blob.key_id))
    with pytest.raises(VoiceStoreUnavailable):
        await SealedBlobs(store, Keys([os.urandom(32)])).get(blob)
    # A new key in front of the old one: what is there still opens, what comes is sealed with the new one.
    rotated = SealedBlobs(store, Keys([os.urandom(32), key]))
    assert await rotated.get(blob) == b"secret"
    assert (await rotated.put("samples/four", b"x")).key_id != blob.key_id


@pytest.mark.parametrize("content", ["", "not base64!", base64.b64encode(b"too short").decode(), "\xff"])
def test_a_key_file_that_cannot_work_stops_the_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "voice.key"
    file.write_text(content, "latin-1")
    with pytest.raises(KeyFileUnusable):
        read_keys(file)
    with pytest.raises(KeyFileUnusable):
        read_keys(tmp_path / "absent.key")


def test_a_blob_store_that_dies_with_the_process_is_not_accepted(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="outlives"):
        Settings(
            mongo_url="mongodb://localhost/",  # type: ignore[arg-type]
            valkey_url="redis://localhost/",  # type: ignore[arg-type]
            blob_url="memory:///",
            key_file=tmp_path,
        )


async def test_pins_count_until_released_or_expired(valkey_url: str) -> None:
    async with cache_client(valkey_url, 2) as client:
        pins, user, now = valkey.ValkeyPins(client), f"u-{uuid4()}", datetime.now(UTC)
        assert await pins.pin(user, "one", now + timedelta(seconds=30))
        # Held already: renewed.
        assert not await pins.pin(user, "one", now + timedelta(minutes=1))
        assert await pins.pin(user, "two", now + timedelta(minutes=2))
        assert await pins.pinned(user, now + timedelta(seconds=45)) == 2
        assert await pins.pinned(user, now + timedelta(seconds=90)) == 1
        for _ in range(2):
            await pins.unpin(user, "one")
        assert await pins.pinned(user, now) == 1
        assert await pins.pinned(user, now + timedelta(minutes=3)) == 0
        assert await pins.pin(user, "one", now + timedelta(minutes=1))


async def test_a_pin_whose_answer_was_lost_is_still_the_first_of_its_performance(valkey_url: str) -> None:
    async with losing_way(valkey_url) as way, cache_client(way.url, 5) as client:
        pins, user = valkey.ValkeyPins(client), f"u-{uuid4()}"
        until = datetime.now(UTC) + timedelta(minutes=1)
        # Connected by now.
        await pins.unpin(user, "one")
        way.loses_the_next = True
        assert await pins.pin(user, "one", until)
        assert way.lost == 1
        assert not await pins.pin(user, "one", until + timedelta(seconds=1))


async def test_those_who_are_pinned_are_found_among_many(valkey_url: str) -> None:
    async with cache_client(valkey_url, 2) as client:
        pins, now = valkey.ValkeyPins(client), datetime.now(UTC)
        users = [f"u-{uuid4()}" for _ in range(700)]
        for place, minutes in ((3, 1), (4, 5), (699, 9)):
            await pins.pin(users[place], "one", now + timedelta(minutes=minutes))
        assert await pins.pinned_among(users, now) == {users[3], users[4], users[699]}
        assert await pins.pinned_among(users, now + timedelta(minutes=2)) == {users[4], users[699]}
        await pins.unpin(users[4], "one")
        await pins.forget(users[699])
        assert await pins.pinned_among(users[4:], now) == frozenset()
        assert await pins.pinned_among([], now) == frozenset()


async def test_a_cache_that_is_away_is_said_to_be_unavailable() -> None:
    async with cache_client("redis://127.0.0.1:9/", 0.1) as client:
        pins, now = valkey.ValkeyPins(client), datetime.now(UTC)
        for call in (pins.pin("ada", "one", now), pins.pinned_among(["ada"], now), pins.forget("ada")):
            with pytest.raises(PinsUnavailable):
                await call


async def test_profiles_are_read_once_within_their_time_and_their_space(store: Any) -> None:
    blobs, time = SealedBlobs(store, Keys([os.urandom(32)])), [0.0]
    profiles = Profiles(blobs, most_bytes=250, seconds=10, clock=lambda: time[0])
    kept = [await blobs.put(f"profiles/{number}", bytes([number]) * 100) for number in range(3)]
    assert [await profiles.get(blob) for blob in kept] == [bytes([number]) * 100 for number in range(3)]
    for blob in kept:
        await blobs.delete(blob.name)
    assert await profiles.get(kept[1]) == b"\1" * 100
    with pytest.raises(BlobMissing):
        await profiles.get(kept[0])
    await profiles.delete(kept[2].name)
    with pytest.raises(BlobMissing):
        await profiles.get(kept[2])
    time[0] = 10.0
    with pytest.raises(BlobMissing):
        await profiles.get(kept[1])
