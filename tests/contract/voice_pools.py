"""Pools that nobody used before, as three replicas see them that share nothing but the database."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import uuid4

from pymongo import AsyncMongoClient

from services.kernel.database import database_client
from services.voice import mongo
from services.voice.mongo_slots import MongoSlots
from services.voice.ports import Allowance
from services.voice.slots import Ledger, Slot, SlotState

NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
CYCLE = datetime(2030, 5, 1, tzinfo=UTC)

Pool = Sequence[MongoSlots]


def sold(places: int = 10, adds: int | None = None, spent: int = 0, cycle: datetime = CYCLE) -> Allowance:
    return Allowance(places, 0, adds, spent, cycle)


def wanted(attempt_id: str = "", user_id: str = "ada", since: datetime = NOW) -> Slot:
    return Slot(attempt_id or str(uuid4()), user_id, "ab" * 32, SlotState.ADDING, since)


def figures(ledger: Ledger) -> tuple[int, int]:
    return len(ledger.slots), ledger.adds_spent


class Pools:
    def __init__(self, clients: Sequence[AsyncMongoClient[mongo.Document]]) -> None:
        self._clients = clients
        self._database = f"voice_{uuid4().hex[:12]}"

    async def open(
        self, places: int = 10, adds: int | None = None, spent: int = 0, provider: str = ""
    ) -> Pool:
        provider = provider or f"provider-{uuid4()}"
        pool = [self.seen_by(client, provider) for client in self._clients]
        await asyncio.gather(*(replica.prepare() for replica in pool))
        await pool[0].refreshed(sold(places, adds, spent), 0, None, NOW)
        return pool

    def seen_by(self, client: AsyncMongoClient[mongo.Document], provider: str) -> MongoSlots:
        return MongoSlots(client[self._database]["pools"], provider)

    def unprepared(self) -> MongoSlots:
        return self.seen_by(self._clients[0], f"provider-{uuid4()}")


@asynccontextmanager
async def pools_at(mongo_url: str) -> AsyncIterator[Pools]:
    async with AsyncExitStack() as stack:
        opened = [database_client(mongo_url, connections=8, seconds=20) for _ in range(3)]
        yield Pools([await stack.enter_async_context(client) for client in opened])
