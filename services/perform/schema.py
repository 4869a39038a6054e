"""What became of this service's documents from release to release."""

from datetime import datetime
from typing import Final

from services.kernel.schema import Database, Migration, Schema
from services.kernel.settings import read
from services.perform.mongo import MongoPerformances
from services.perform.settings import Settings
from services.perform.speech_keys import MongoSpeechKeys


async def _indexes(database: Database, now: datetime) -> int:
    await MongoPerformances(database.client, database.name).prepare()
    await MongoSpeechKeys(database.client, database.name).prepare()
    return 0


SCHEMA: Final = Schema("perform", (Migration("indexes", _indexes), Migration("speech_ids", _indexes)))


def place() -> tuple[str, str]:
    """The database that the environment names."""
    settings = read(Settings)
    return str(settings.mongo_url), settings.mongo_database
