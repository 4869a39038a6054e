"""What the routes work with, opened once when the application starts."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, HTTPException, Request
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from bench.baseline.providers import Providers
from bench.baseline.settings import Settings
from services.synthesis.ambience import Ambience

T = TypeVar("T")


@dataclass(frozen=True)
class House:
    settings: Settings
    database: AsyncDatabase[dict[str, Any]]
    providers: Providers
    ambience: Ambience
    threads: ThreadPoolExecutor

    async def in_a_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            AsyncMongoClient[dict[str, Any]](settings.mongo_url, tz_aware=True)
        )
        database = client["baseline"]
        await database.users.create_index("username", unique=True)
        await database.recordings.create_index([("user_id", 1), ("created_at", 1)])
        for name in ("samples", "recordings"):
            (settings.folder / name).mkdir(parents=True, exist_ok=True)
        threads = stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1))
        providers = await stack.enter_async_context(Providers.opened(settings))
        ambience = await asyncio.get_running_loop().run_in_executor(threads, Ambience.made)
        yield House(settings, database, providers, ambience, threads)


async def _house(request: Request) -> House:
    house: House = request.app.state.house
    return house


OpenHouse = Annotated[House, Depends(_house)]


def refused(status: int, code: str, message: str) -> HTTPException:
    return HTTPException(status, {"error": code, "message": message})
