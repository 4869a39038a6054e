"""A key of speech in the real database, when the answers of the database are lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from services.kernel.client import limit_to
from services.perform.background import Background
from services.perform.blobs import StoredBlobs
from services.perform.errors import StorageUnavailable
from services.perform.speech import HeldKey, KeyClaim, SpeechOrder
from services.perform.speech_keeping import SpeechKeeping, SpeechShelf
from services.perform.speech_keys import MongoSpeechKeys
from services.perform.speech_streaming import SpeechRequest

ORDER = SpeechOrder("tts-1", "Nobody hears this.", "me", "mp3", 1.0, as_events=False)


class Unheard(MongoSpeechKeys):
    """The database does as it is told, and the answer to a claim is lost, or never comes."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str) -> None:
        super().__init__(client, database)
        self.answers = True
        self.claimed, self.freed = asyncio.Event(), asyncio.Event()
        self.away = 0

    async def claim(self, claim: KeyClaim, now: datetime, until: datetime) -> HeldKey | None:
        await super().claim(claim, now, until)
        self.claimed.set()
        if not self.answers:
            await asyncio.Event().wait()
        raise StorageUnavailable("The answer was lost.")

    async def free(self, claim: KeyClaim) -> None:
        if self.away:
            self.away -= 1
            raise StorageUnavailable("Away.")
        await super().free(claim)
        self.freed.set()


@dataclass
class House:
    keys: MongoSpeechKeys
    unheard: Unheard
    keeping: SpeechKeeping
    request: SpeechRequest = field(default_factory=lambda: SpeechRequest(uuid4(), "ada", ORDER, "k"))

    async def ask(self) -> None:
        async with aclosing(self.keeping.speak(self.request, 0)) as parts:
            async for _ in parts:
                raise AssertionError("nothing is spoken under a key that was not had")

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
        unheard = Unheard(client, database)
        shelf = SpeechShelf(StoredBlobs(tmp_path.as_uri()), unheard, timedelta(hours=24))
        keeping = SpeechKeeping(cast(Any, None), shelf, background, lambda: datetime.now(UTC))
        yield House(MongoSpeechKeys(client, database), unheard, keeping)


@pytest.mark.parametrize("away", [0, 1])
async def test_a_claim_whose_answer_was_lost_holds_no_key(house: House, away: int) -> None:
    house.unheard.away = away
    with pytest.raises(StorageUnavailable):
        await house.ask()
    async with asyncio.timeout(5):
        await house.unheard.freed.wait()
    assert await house.is_free()


async def test_a_listener_who_leaves_while_a_key_is_claimed_does_not_hold_it(house: House) -> None:
    house.unheard.answers = False
    listener = asyncio.create_task(house.ask())
    await house.unheard.claimed.wait()
    listener.cancel()
    async with asyncio.timeout(5):
        await house.unheard.freed.wait()
    assert await house.is_free()
