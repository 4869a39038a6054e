"""A collection; the one place where the driver's failures become this service's."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from services.auth.domain.errors import StorageUnavailable
from services.kernel import database

Document = dict[str, Any]


class Collection:
    """Raises DuplicateKeyError and StorageUnavailable, nothing else of the driver's."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection

    async def create_indexes(self, *indexes: IndexModel) -> None:
        with _reached():
            await self._collection.create_indexes(list(indexes))

    async def find_one(self, document_id: object, *fields: str) -> Document | None:
        with _reached():
            return await self._collection.find_one({"_id": document_id}, list(fields) or None)

    async def find_by(self, key: str, value: object) -> Document | None:
        with _reached():
            return await self._collection.find_one({key: value})

    async def find(
        self,
        where: Mapping[str, Any],
        limit: int,
        sort: Sequence[tuple[str, int]] = (),
        fields: Sequence[str] = (),
    ) -> list[Document]:
        with _reached():
            cursor = self._collection.find(where, list(fields) or None, limit=limit, sort=list(sort) or None)
            return await cursor.to_list()

    async def insert(self, *documents: Document) -> None:
        with _reached():
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
        with _reached():
            return (await self._collection.update_one(where, change)).matched_count == 1

    async def update_all(self, where: Mapping[str, Any], change: Mapping[str, Any]) -> int:
        """How many documents met the conditions."""
        with _reached():
            return (await self._collection.update_many(where, change)).matched_count

    async def delete_all(self, where: Mapping[str, Any]) -> int:
        """How many documents met the conditions; they are gone."""
        with _reached():
            return (await self._collection.delete_many(where)).deleted_count

    async def delete(self, where: Mapping[str, Any]) -> bool:
        """True when a document met the conditions; it is gone."""
        with _reached():
            return (await self._collection.delete_one(where)).deleted_count == 1

    async def replace(self, where: Mapping[str, Any], document: Document) -> None:
        """Insert the document, or put it in the place of the one that meets the conditions."""
        with _reached():
            await self._collection.replace_one(where, document, upsert=True)


def _reached() -> AbstractContextManager[None]:
    return database.reached(StorageUnavailable("The account store does not answer right now."))
