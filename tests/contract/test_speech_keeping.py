"""Speech under a key, in the real database and real files: answers that are lost, and what is given again."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from pymongo import AsyncMongoClient

from services.kernel.caller import limit_to
from services.kernel.errors import Kind, ServiceError
from services.kernel.ranges import Span
from services.perform.background import Background
from services.perform.blobs import StoredBlobs
from services.perform.domain import Charge
from services.perform.errors import PerformBusy, RecordingNotFound, StorageUnavailable
from services.perform.places import Memory
from services.perform.speech import HeldKey, KeyClaim, SpeechOrder, Spoken
from services.perform.speech_keeping import SpeechKeeping, SpeechShelf
from services.perform.speech_keys import MongoSpeechKeys
from services.perform.speech_streaming import Opening, SpeechRequest

PART = 256 << 10
ORDER = SpeechOrder("tts-1", "Nobody hears this.", "me", "mp3", 1.0, as_events=False)


class Unheard(MongoSpeechKeys):
    """The database does as it is told, and the answer to a claim may be lost, or never come."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str) -> None:
        super().__init__(client, database)
        self.answer = "lost"
        self.claimed, self.freed = asyncio.Event(), asyncio.Event()
        self.away = 0

    async def claim(self, claim: KeyClaim, now: datetime, until: datetime) -> HeldKey | None:
        held = await super().claim(claim, now, until)
        self.claimed.set()
        if self.answer == "never":
            await asyncio.Event().wait()
        if self.answer == "lost":
            raise StorageUnavailable("The answer was lost.")
        return held

    async def free(self, claim: KeyClaim) -> None:
        if self.away:
            self.away -= 1
            raise StorageUnavailable("Away.")
        await super().free(claim)
        self.freed.set()


class Watched(StoredBlobs):
    """Remembers what was read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.read: list[Span | None] = []

    async def get(self, user_id: str, recording_id: UUID, part: Span | None = None) -> bytes:
        self.read.append(part)
        return await super().get(user_id, recording_id, part)


@dataclass
class House:
    client: AsyncMongoClient[dict[str, Any]]
    keys: MongoSpeechKeys
    unheard: Unheard
    blobs: Watched
    keeping: SpeechKeeping
    request: SpeechRequest = field(default_factory=lambda: SpeechRequest(uuid4(), "ada", ORDER, "k"))

    def speech(self) -> AsyncGenerator[Opening | bytes | Charge, None]:
        return self.keeping.speak(SpeechRequest(uuid4(), "ada", ORDER, "k"), 0)

    async def ask(self) -> None:
        async with aclosing(self.speech()) as parts:
            async for _ in parts:
                raise AssertionError("nothing is spoken under a key that was not had")

    async def kept(self, audio: bytes) -> None:
        """As another process left it."""
        self.unheard.answer = "heard"
        claim, now = self.request.claim, datetime.now(UTC)
        until = now + timedelta(hours=24)
        await self.keys.claim(claim, now, until)
        await self.blobs.put("ada", claim.speech_id, audio)
        await self.keys.spend(claim, Spoken("local_clone", 18), until)

    async def is_free(self) -> bool:
        another = SpeechRequest(uuid4(), "ada", ORDER, "k")
        now = datetime.now(UTC)
        return await self.keys.claim(another.claim, now, now + timedelta(minutes=5)) is None


@pytest.fixture
async def house(mongo_url: str, tmp_path: Path) -> AsyncIterator[House]:
    opened: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    )
    async with opened as client, Background(1, limit_to) as background:
        database = f"perform-{uuid4().hex}"
        unheard, blobs = Unheard(client, database), Watched(tmp_path.as_uri())
        shelf = SpeechShelf(Memory(1 << 20), blobs, unheard, timedelta(hours=24))
        keeping = SpeechKeeping(cast(Any, None), shelf, background, lambda: datetime.now(UTC))
        yield House(client, MongoSpeechKeys(client, database), unheard, blobs, keeping)


@pytest.mark.parametrize("away", [0, 1])
async def test_a_claim_whose_answer_was_lost_holds_no_key(house: House, away: int) -> None:
    house.unheard.away = away
    with pytest.raises(StorageUnavailable):
        await house.ask()
    async with asyncio.timeout(5):
        await house.unheard.freed.wait()
    assert await house.is_free()


async def test_a_listener_who_leaves_while_a_key_is_claimed_does_not_hold_it(house: House) -> None:
    house.unheard.answer = "never"
    listener = asyncio.create_task(house.ask())
    await house.unheard.claimed.wait()
    listener.cancel()
    async with asyncio.timeout(5):
        await house.unheard.freed.wait()
    assert await house.is_free()


async def test_who_waits_too_long_for_another_replica_is_told_so_as_everywhere(house: House) -> None:
    house.unheard.answer, now = "heard", datetime.now(UTC)
    await house.keys.claim(house.request.claim, now, now + timedelta(minutes=5))
    with pytest.raises(ServiceError) as told:
        await house.ask()
    assert (told.value.kind, told.value.reason) == (Kind.DEADLINE, "SPEECH_UNDER_WAY")


async def test_what_is_given_again_is_read_as_it_is_listened_to(house: House) -> None:
    audio = bytes(PART) + b"and a little"
    await house.kept(audio)
    async with aclosing(house.speech()) as parts:
        assert await anext(parts) == Opening("local_clone")
        assert await anext(parts) == bytes(PART)
        assert house.blobs.read == [Span(0, PART)]
        rest = [part async for part in parts]
    assert rest == [b"and a little", Charge(18, 0, 0)]
    assert house.blobs.read == [Span(0, PART), Span(PART, len(audio))]


async def test_no_more_listen_than_there_is_memory_for_until_one_of_them_leaves(house: House) -> None:
    await house.kept(bytes(2 * PART))
    async with AsyncExitStack() as listeners:
        there = [await listeners.enter_async_context(aclosing(house.speech())) for _ in range(4)]
        for each in there:
            await anext(each)
        with pytest.raises(PerformBusy):
            await house.ask()
        await there[0].aclose()
        another = await listeners.enter_async_context(aclosing(house.speech()))
        assert await anext(another) == Opening("local_clone")


async def test_audio_that_is_gone_is_told_before_anything_is_heard(house: House) -> None:
    await house.kept(b"audio")
    await house.blobs.delete("ada", house.request.speech_id)
    with pytest.raises(RecordingNotFound):
        await house.ask()


class _Meeting(MongoSpeechKeys):
    """Two ask at the same time, and the second one's claim arrives when the first has given its key back."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str) -> None:
        super().__init__(client, database)
        self.asked = 0
        self.freed, self.second_began = asyncio.Event(), asyncio.Event()

    async def claim(self, claim: KeyClaim, now: datetime, until: datetime) -> HeldKey | None:
        self.asked += 1
        if self.asked == 2:
            await self.freed.wait()
        return await super().claim(claim, now, until)

    async def free(self, claim: KeyClaim) -> None:
        await super().free(claim)
        self.freed.set()
        await self.second_began.wait()


class _FailsOnce:
    """Speech that is refused first, then waits to be listened to by another one."""

    def __init__(self, keys: _Meeting) -> None:
        self._keys = keys
        self._asked = 0
        self.third_came = asyncio.Event()

    async def speak(
        self, request: SpeechRequest, keep: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Opening | bytes | Charge, None]:
        self._asked += 1
        if self._asked == 1:
            raise StorageUnavailable("Away.")
        self._keys.second_began.set()
        yield Opening("local_clone")
        yield b"audio"
        await self.third_came.wait()
        await keep()
        yield Charge(18, 0, 0)


async def test_who_fails_does_not_hide_the_one_who_has_its_key_by_then(house: House) -> None:
    keys = _Meeting(house.client, f"perform-{uuid4().hex}")
    speech = _FailsOnce(keys)
    async with Background(1, limit_to) as background:
        shelf = SpeechShelf(Memory(1 << 20), house.blobs, keys, timedelta(hours=24))
        keeping = SpeechKeeping(cast(Any, speech), shelf, background, lambda: datetime.now(UTC))

        async def heard() -> list[Opening | bytes | Charge]:
            async with aclosing(keeping.speak(SpeechRequest(uuid4(), "ada", ORDER, "k"), 0)) as parts:
                return [part async for part in parts]

        first, second = (asyncio.create_task(heard()) for _ in range(2))
        with pytest.raises(StorageUnavailable):
            await first
        third = asyncio.create_task(heard())
        speech.third_came.set()
        assert await third == await second == [Opening("local_clone"), b"audio", Charge(18, 0, 0)]
