"""The form of a service's documents: brought up to date before the service uses them.

Migrations are numbered by their place and only ever added. Each may be cut off anywhere, repeated, and
run by two replicas at once: it changes a document by one conditional update that takes the old form away.
The lease spares the others the work; nothing depends on it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import uuid4

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.kernel.clock import clock
from services.kernel.database import database_client
from services.kernel.errors import ServiceError
from services.kernel.server import running
from services.kernel.settings import read

log = structlog.get_logger()

Database = AsyncDatabase[dict[str, Any]]

COLLECTION: Final = "schema_migrations"
_ID: Final = "schema"
_LOOK_AGAIN_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 3600


class SchemaSettings(BaseSettings):
    """What a service does about documents of another release, from SCHEMA_* variables."""

    model_config = SettingsConfigDict(env_prefix="SCHEMA_", frozen=True)

    # Documents of an older release: migrate them, wait until somebody else has (a Job), or refuse to start.
    when_older: Literal["migrate", "wait", "refuse"] = "migrate"
    # How long to wait for somebody else's migrations.
    wait_seconds: float = Field(default=300, gt=0, le=86_400)
    # Whoever migrates says this often that it is alive, thrice; after a crash another one goes on.
    lease_seconds: float = Field(default=15, ge=0.5, le=600)


class SchemaUnfit(SystemExit):
    """Ends the process with one line: the documents are not what this release can work with."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    # Returns how many documents it changed.
    apply: Callable[[Database, datetime], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Schema:
    """All migrations that ever were, oldest first: an empty database goes through them as well."""

    service: str
    migrations: tuple[Migration, ...]

    @property
    def version(self) -> int:
        return len(self.migrations)


@dataclass(frozen=True, slots=True)
class Done:
    number: int
    name: str
    at: datetime
    documents: int


async def bring_up_to_date(url: str, database: str, schema: Schema) -> None:
    """What a service does first: one read when there is nothing to do. Raises SchemaUnfit."""
    settings = read(SchemaSettings)
    async with opened(url, database, schema) as kept:
        await Keeper(kept, schema, settings.lease_seconds).settle(settings)


@asynccontextmanager
async def opened(url: str, database: str, schema: Schema) -> AsyncIterator[Database]:
    """A client of its own, with patience: an index of a large collection takes minutes.

    Whatever goes wrong with the database becomes SchemaUnfit.
    """
    try:
        async with database_client(url, connections=4, seconds=_LONGEST_SECONDS) as client:
            yield client[database]
    except (PyMongoError, RuntimeError, ServiceError) as error:
        setting, cause = f"{schema.service.upper()}_MONGO_URL", type(error).__name__
        raise SchemaUnfit(f"setting {setting}: the database does not do what was asked ({cause})") from error


class Keeper:
    """The one document that says which migrations are done, and who is at work."""

    def __init__(self, database: Database, schema: Schema, lease_seconds: float = 15) -> None:
        self._database = database
        self._kept = database[COLLECTION]
        self._schema = schema
        self._lease = timedelta(seconds=lease_seconds)
        self._holder = uuid4().hex

    async def version(self) -> int:
        """0 for an empty database, and for one that is older than this record."""
        found = await self._kept.find_one({"_id": _ID}, {"version": 1})
        return int(found["version"]) if found else 0

    async def done(self) -> Sequence[Done]:
        found = await self._kept.find_one({"_id": _ID})
        return [Done(**each) for each in found["done"]] if found else []

    async def settle(self, settings: SchemaSettings) -> None:
        version = await self.version()
        self._refuse_newer(version)
        if version == self._schema.version:
            return
        if settings.when_older == "refuse":
            raise SchemaUnfit(self._older(version))
        if settings.when_older == "migrate":
            await self.migrate()
            return
        log.info("schema_awaited", service=self._schema.service, version=version, needs=self._schema.version)
        try:
            async with asyncio.timeout(settings.wait_seconds):
                while (version := await self.version()) < self._schema.version:  # noqa: ASYNC110 - a database
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        except TimeoutError:
            raise SchemaUnfit(self._older(version)) from None
        self._refuse_newer(version)

    async def migrate(self, *, again: bool = False) -> None:
        """Whatever is not done; with `again` all of it, which mends indexes that somebody dropped."""
        with suppress(DuplicateKeyError):
            await self._kept.insert_one({"_id": _ID, "version": 0, "done": [], "holder": None, "until": None})
        if again:
            self._refuse_newer(await self.version())
            await self._kept.update_one({"_id": _ID}, {"$set": {"version": 0}})
        while (version := await self.version()) < self._schema.version:
            if not await self._take(version):
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                continue
            try:
                async with running(self._stay()):
                    await self._apply(version)
            finally:
                await self._let_go()
        self._refuse_newer(version)

    async def _apply(self, version: int) -> None:
        migration, began = self._schema.migrations[version], clock()
        documents = await migration.apply(self._database, began)
        done = {"number": version + 1, "name": migration.name, "at": began, "documents": documents}
        # One write for the fact and its record. Whoever lost the lease meanwhile adds nothing.
        noted = {"$set": {"version": version + 1}, "$push": {"done": done}}
        if (await self._kept.update_one({"_id": _ID, "version": version}, noted)).matched_count:
            log.info("schema_migrated", service=self._schema.service, **(done | {"at": began.isoformat()}))

    async def _take(self, version: int) -> bool:
        now = clock()
        free = {"_id": _ID, "version": version, "$or": [{"until": None}, {"until": {"$lte": now}}]}
        taken = {"$set": {"holder": self._holder, "until": now + self._lease}}
        return (await self._kept.update_one(free, taken)).matched_count == 1

    async def _stay(self) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            ours = {"_id": _ID, "holder": self._holder}
            with suppress(PyMongoError):
                await self._kept.update_one(ours, {"$set": {"until": clock() + self._lease}})

    async def _let_go(self) -> None:
        free = {"$set": {"holder": None, "until": None}}
        await self._kept.update_one({"_id": _ID, "holder": self._holder}, free)

    def _refuse_newer(self, version: int) -> None:
        if version > self._schema.version:
            raise SchemaUnfit(
                f"the documents of {self._schema.service} are of form {version}, a newer release's; this one "
                f"knows form {self._schema.version}: start the newer release, or restore an older backup"
            )

    def _older(self, version: int) -> str:
        service = self._schema.service
        return (
            f"the documents of {service} are of form {version}, and this release needs form "
            f"{self._schema.version}: run `python -m services.migrate {service}`"
        )
