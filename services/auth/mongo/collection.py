"""A collection behind the pool's queue; the one place where the driver's failures become ours."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.auth.domain.errors import StorageUnavailable

log = structlog.get_logger()

Document = dict[str, Any]


class Collection:
    """Raises DuplicateKeyError and StorageUnavailable, nothing else of the driver's."""

    def __init__(self, collection: AsyncCollection[Document], turns: asyncio.Semaphore) -> None:
        self._collection = collection
        # The driver's pool starves waiters beyond its size; this queue is first come, first served.
        self._turns = turns

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        async with self._turns:
            try:
                yield
            except DuplicateKeyError:
                raise
            except PyMongoError as error:
                log.warning("storage_failed", collection=self._collection.name, cause=type(error).__name__)
                raise StorageUnavailable("The account store does not answer right now.") from error

    async def create_indexes(self, *indexes: IndexModel) -> None:
        async with self._turn():
            await self._collection.create_indexes(list(indexes))

    async def find_one(self, document_id: object, *fields: str) -> Document | None:
        async with self._turn():
            return await self._collection.find_one({"_id": document_id}, list(fields) or None)

    async def find_by(self, key: str, value: object) -> Document | None:
        async with self._turn():
            return await self._collection.find_one({key: value})

    async def find(
        self,
        where: Mapping[str, Any],
        limit: int,
        sort: Sequence[tuple[str, int]] = (),
        fields: Sequence[str] = (),
    ) -> list[Document]:
        async with self._turn():
            cursor = self._collection.find(where, list(fields) or None, limit=limit, sort=list(sort) or None)
            return await cursor.to_list()

    async def insert(self, *documents: Document) -> None:
        async with self._turn():
            if len(documents) == 1:
                await self._collection.insert_one(documents[0])
            else:
                await self._collection.insert_many(documents)

    async def insert_unless_there(self, document: Document) -> bool:
        try:
            await self.insert(document)
        except DuplicateKeyError:
            return False
        return True

    async def update(self, where: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        """True when a document met the conditions."""
        async with self._turn():
            return (await self._collection.update_one(where, change)).matched_count == 1

    async def update_all(self, where: Mapping[str, Any], change: Mapping[str, Any]) -> int:
        """How many documents met the conditions."""
        async with self._turn():
            return (await self._collection.update_many(where, change)).matched_count

    async def delete_all(self, where: Mapping[str, Any]) -> int:
        """How many documents met the conditions; they are gone."""
        async with self._turn():
            return (await self._collection.delete_many(where)).deleted_count

    async def delete(self, where: Mapping[str, Any]) -> bool:
        """True when a document met the conditions; it is gone."""
        async with self._turn():
            return (await self._collection.delete_one(where)).deleted_count == 1

    async def replace(self, where: Mapping[str, Any], document: Document) -> None:
        """Insert the document, or put it in the place of the one that meets the conditions."""
        async with self._turn():
            await self._collection.replace_one(where, document, upsert=True)
