"""What became of this service's documents from release to release."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pymongo.errors import OperationFailure

from services.auth.mongo import database_of, make_indexes
from services.auth.mongo.collection import Collection
from services.auth.mongo.old_users import note_seen, renew_settings
from services.auth.settings import Settings
from services.kernel.schema import Database, Migration, Schema
from services.kernel.settings import read

_INDEX_NOT_FOUND: Final = 27
_STATEMENT: Final = [("user_id", 1), ("at", -1), ("_id", -1)]


async def _indexes(database: Database, now: datetime) -> int:
    """The first releases had an index whose name has other keys now, and one that nothing asks any more."""
    await _drop(database["credit_entries"], "statement", unless=_STATEMENT)
    await _drop(database["users"], "newest")
    await make_indexes(database_of(database))
    return 0


async def _drop(collection: Any, name: str, unless: Sequence[tuple[str, int]] = ()) -> None:
    async for index in await collection.list_indexes():
        if index["name"] == name and list(index["key"].items()) != list(unless):
            try:
                await collection.drop_index(name)
            except OperationFailure as failure:
                # Another replica was faster.
                if failure.code != _INDEX_NOT_FOUND:
                    raise


async def _settings_in_percent(database: Database, now: datetime) -> int:
    return await renew_settings(_users(database))


async def _users_seen(database: Database, now: datetime) -> int:
    return await note_seen(_users(database), now)


def _users(database: Database) -> Collection:
    return Collection(database["users"])


SCHEMA: Final = Schema(
    "auth",
    (
        Migration("indexes", _indexes),
        Migration("settings_in_percent", _settings_in_percent),
        Migration("users_seen", _users_seen),
        Migration("answers_by_user", _indexes),
        Migration("codes_by_maker", _indexes),
    ),
)


def place() -> tuple[str, str]:
    """The database that the environment names."""
    settings = read(Settings)
    return settings.mongo_url, settings.database
