"""Builds what reaches into every service: erasing a user, exporting a user, and ending retention."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from services.auth.composition import Built
from services.auth.mongo import Database
from services.auth.mongo.traces import AnswerTraces
from services.auth.peers import ContentPeer, PerformPeer, VoicePeer
from services.auth.ports import Holder
from services.auth.rpc import ErasureAccess
from services.auth.settings import Settings
from services.auth.usecases.closing import Closings
from services.auth.usecases.erasure import Erasures, ErasureTimes
from services.auth.usecases.export import Exports, Kept
from services.auth.usecases.retention import Retention, RetentionRules
from services.auth.vault import SealedSubjects, read_key
from services.kernel.client import Channels

# Uploads and performances that began before the last token ended have ended themselves by then.
_CALLS_END = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Everywhere:
    holders: Mapping[str, Holder]
    erasures: Erasures
    retention: Retention
    access: ErasureAccess


def reach(settings: Settings, built: Built, channels: Channels) -> Everywhere:
    voice = VoicePeer(channels.to("voice", settings.voice_address), settings.peer_seconds)
    perform = PerformPeer(channels.to("perform", settings.perform_address), settings.peer_seconds)
    content = ContentPeer(channels.to("content", settings.content_address), settings.peer_seconds)
    database, ask = built.database, built.ask
    holders: dict[str, Holder] = {
        "account": database.account_traces,
        "voice": voice,
        "perform": perform,
        "content": content,
        "credits": database.credit_traces,
        "audit": database.audit_traces,
        "answers": AnswerTraces(built.replays),
    }
    erasures = erasures_of(settings, database, holders)
    kept = Kept(
        database.users,
        ask.credits,
        database.statement,
        database.sessions,
        database.api_keys,
        voice,
        perform,
    )
    retention = Retention(
        database.aging, database.users, database.sessions, database.api_keys, _rules(settings)
    )
    closings = Closings(database.users, built.credentials, ask.administration, ask.audit, erasures)
    access = ErasureAccess(closings, Exports(kept, ask.audit))
    return Everywhere(holders, erasures, retention, access)


def erasures_of(settings: Settings, database: Database, holders: Mapping[str, Holder]) -> Erasures:
    times = ErasureTimes(
        lease=timedelta(seconds=60),
        retry=timedelta(seconds=settings.erasure_retry_seconds),
        settles=settings.access_token_lives + _CALLS_END,
    )
    subjects = SealedSubjects(read_key(settings.key_file))
    return Erasures(database.erasures, holders, subjects, times, uuid4)


def _rules(settings: Settings) -> RetentionRules:
    return RetentionRules(
        sessions=timedelta(days=settings.session_retention_days),
        audit_entries=timedelta(days=settings.audit_retention_days) or None,
        credit_entries=timedelta(days=settings.credit_retention_days) or None,
        unused_accounts=timedelta(days=settings.unused_account_days) or None,
    )
