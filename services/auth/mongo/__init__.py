"""Everything this service keeps, in its own database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from services.auth.mongo.aging import MongoAging
from services.auth.mongo.api_keys import MongoApiKeys
from services.auth.mongo.audit import MongoAudit
from services.auth.mongo.codes import MongoCodes
from services.auth.mongo.collection import Collection, Document
from services.auth.mongo.erasures import MongoErasures
from services.auth.mongo.keys import MongoKeys
from services.auth.mongo.ledger import MongoLedger
from services.auth.mongo.sessions import MongoSessions
from services.auth.mongo.statement import MongoStatement
from services.auth.mongo.traces import AccountTraces, AuditTraces, CreditTraces
from services.auth.mongo.users import MongoUsers
from services.kernel.answers import EXPIRES_AT, USER
from services.kernel.database import database_client

_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Database:
    users: MongoUsers
    codes: MongoCodes
    sessions: MongoSessions
    keys: MongoKeys
    ledger: MongoLedger
    statement: MongoStatement
    api_keys: MongoApiKeys
    audit: MongoAudit
    erasures: MongoErasures
    account_traces: AccountTraces
    credit_traces: CreditTraces
    audit_traces: AuditTraces
    aging: MongoAging
    # For the kernel's KeptAnswers, which needs a key that only the service has.
    answers: Collection
    # Raises when the database does not answer.
    ping: Callable[[], Awaitable[object]]


@asynccontextmanager
async def open_database(url: str, name: str, pool_size: int) -> AsyncIterator[Database]:
    """Connected; services.auth.schema has brought it up to date before."""
    async with database_client(url, pool_size, _SECONDS) as client:
        yield database_of(client[name])


def database_of(kept: AsyncDatabase[Document]) -> Database:
    def collection(called: str) -> Collection:
        return Collection(kept[called])

    return Database(
        MongoUsers(collection("users")),
        MongoCodes(collection("activation_codes")),
        MongoSessions(collection("sessions")),
        MongoKeys(collection("signing_keys")),
        MongoLedger(collection("credit_months"), collection("credit_entries")),
        MongoStatement(collection("credit_months"), collection("credit_entries")),
        MongoApiKeys(collection("api_keys")),
        MongoAudit(collection("audit_log")),
        MongoErasures(collection("erasures")),
        AccountTraces(
            users=collection("users"),
            codes=collection("activation_codes"),
            sessions=collection("sessions"),
            api_keys=collection("api_keys"),
        ),
        CreditTraces(months=collection("credit_months"), entries=collection("credit_entries")),
        AuditTraces(collection("audit_log")),
        MongoAging(
            sessions=collection("sessions"),
            audit_entries=collection("audit_log"),
            credit_months=collection("credit_months"),
            credit_entries=collection("credit_entries"),
        ),
        collection("answers"),
        partial(kept.client.admin.command, "ping"),
    )


async def make_indexes(database: Database) -> None:
    """Those of this release. Another one needs a migration that calls this again: services.auth.schema."""
    await database.users.prepare()
    await database.codes.prepare()
    await database.sessions.prepare()
    await database.ledger.prepare()
    await database.api_keys.prepare()
    await database.audit.prepare()
    await database.erasures.prepare()
    await database.aging.prepare()
    await database.answers.create_indexes(
        IndexModel(EXPIRES_AT, expireAfterSeconds=0, name="expires"),
        IndexModel(USER, sparse=True, name="user"),
    )
