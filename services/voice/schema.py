"""What became of this service's documents from release to release."""

from datetime import datetime
from typing import Final

from services.kernel.schema import Database, Migration, Schema
from services.kernel.settings import read
from services.voice import answers
from services.voice.mongo import MongoVoices
from services.voice.settings import Settings


async def _indexes(database: Database, now: datetime) -> int:
    await MongoVoices(database["voices"]).prepare()
    return 0


async def _answers(database: Database, now: datetime) -> int:
    await answers.make_indexes(database[answers.COLLECTION])
    return 0


SCHEMA: Final = Schema(
    "voice",
    (
        Migration("indexes", _indexes),
        Migration("answers", _answers),
        Migration("newest_clones", _indexes),
        Migration("answers_by_user", _answers),
    ),
)


def place() -> tuple[str, str]:
    """The database that the environment names."""
    settings = read(Settings)
    return str(settings.mongo_url), settings.mongo_database
