"""Builds the perform service, serves it, closes it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pymongo import AsyncMongoClient

from newvisions.perform.v1.perform_service_pb2_grpc import add_PerformServiceServicer_to_server
from newvisions.perform.v1.speech_service_pb2_grpc import add_SpeechServiceServicer_to_server
from services.kernel.caller import limit_to
from services.kernel.client import Channels
from services.kernel.clock import clock
from services.kernel.database import database_client
from services.kernel.rounds import again_and_again
from services.kernel.schema import bring_up_to_date
from services.kernel.server import Handlers, ServerSettings, running, serve
from services.kernel.settings import read
from services.perform.background import Background
from services.perform.blobs import StoredBlobs
from services.perform.domain import Quota, TimeLimits
from services.perform.erasing import Erasing
from services.perform.mongo import MongoPerformances
from services.perform.orphans import OrphanRules, Orphans
from services.perform.peers import AuthCredits, ContentNotes, SynthesisSpeech, VoiceLeases
from services.perform.performing import Performing
from services.perform.places import Memory, Patience, Places
from services.perform.ports import Ports, SpeechKeys
from services.perform.quota import Room
from services.perform.readiness import Readiness, serving
from services.perform.recordings import Archive
from services.perform.recovering import Recovery
from services.perform.rpc import PerformServicer, SpeechServicer
from services.perform.schema import SCHEMA
from services.perform.settings import Settings
from services.perform.speech_keeping import LONGEST_SPEECH, SpeechKeeping, SpeechShelf
from services.perform.speech_keys import MongoSpeechKeys
from services.perform.speech_streaming import SpeechStreaming
from services.perform.steps import Story
from services.perform.sweeper import Sweeper


@asynccontextmanager
async def open_service(handlers: Handlers, channels: Channels) -> AsyncIterator[None]:
    settings = read(Settings)
    async with AsyncExitStack() as stack:
        url, database = settings.mongo_url, settings.mongo_database
        await bring_up_to_date(url, database, SCHEMA)
        client = await stack.enter_async_context(_client(settings))
        performances = MongoPerformances(client, database)
        ways = {name: channels.to(name, getattr(settings, f"{name}_address")) for name in _PEERS}
        blobs = StoredBlobs(settings.blob_url)
        ports = _ports(settings, performances, blobs, ways)
        stores = {"database": performances.ping, "recordings": blobs.ping}
        limits = _limits(settings)
        quota = Quota(settings.most_recordings, settings.most_recorded_bytes)
        story = Story(ports, Room(performances, quota, clock), limits, clock)
        background = await stack.enter_async_context(Background(settings.stop_seconds, limit_to))
        recovery = Recovery(ports, story, background, limits, clock)
        performing = Performing(
            ports, story, background, limits, clock, recovery=recovery, places=_places(settings)
        )
        servicer = PerformServicer(
            performing,
            Archive(ports, limits, clock),
            Erasing(ports, story),
            Readiness({**stores, **{name: serving(way) for name, way in ways.items()}}),
            settings.join_seconds,
        )
        add_PerformServiceServicer_to_server(servicer, handlers)  # type: ignore[no-untyped-call]
        speeches = _speeches(settings, ports, ways["synthesis"], background)
        keys = MongoSpeechKeys(client, database)
        memory = Memory(settings.most_speech_bytes)
        shelf = SpeechShelf(memory, ports.blobs, keys, timedelta(hours=settings.key_hours))
        kept = SpeechKeeping(speeches, shelf, background, clock)
        speech_servicer = SpeechServicer(speeches, kept, performing, settings.join_seconds)
        add_SpeechServiceServicer_to_server(speech_servicer, handlers)  # type: ignore[no-untyped-call]
        handlers.dependencies["perform database"] = performances.ping
        handlers.partly_needed["perform recordings"] = blobs.ping
        sweeper = Sweeper(performances, recovery, clock)
        archive, orphans = Archive(ports, limits, clock), _orphans(settings, ports, performances, keys)
        seconds, look_again = settings.sweep_interval_seconds, _look_again_seconds(settings)
        async with (
            running(again_and_again("perform sweep", sweeper.sweep, seconds)),
            running(again_and_again("perform retention", archive.retire, seconds)),
            running(again_and_again("perform orphans", orphans.look_in_turn, look_again)),
        ):
            yield


_DATABASE_SECONDS = 10.0
_PEERS = ("auth", "voice", "content", "synthesis")


def _client(settings: Settings) -> AsyncMongoClient[dict[str, Any]]:
    return database_client(settings.mongo_url, settings.mongo_connections, _DATABASE_SECONDS)


def _speeches(settings: Settings, ports: Ports, synthesis: Any, background: Background) -> SpeechStreaming:
    # Who listens slowly may take all the time that the caller's own deadline gives.
    speech = SynthesisSpeech(synthesis, LONGEST_SPEECH.total_seconds())
    places = Places("speeches", settings.most_speeches_at_once, settings.most_speeches_at_once)
    return SpeechStreaming(
        replace(ports, speech=speech), background, clock, places=places, seconds=settings.speech_seconds
    )


def _ports(
    settings: Settings, performances: MongoPerformances, blobs: StoredBlobs, ways: dict[str, Any]
) -> Ports:
    return Ports(
        credits=AuthCredits(ways["auth"], settings.auth_seconds),
        voices=VoiceLeases(ways["voice"], settings.lease_seconds, settings.voice_seconds),
        notes=ContentNotes(ways["content"], settings.content_seconds),
        speech=SynthesisSpeech(ways["synthesis"], settings.synthesis_seconds),
        blobs=blobs,
        performances=performances,
        recordings=performances,
    )


def _places(settings: Settings) -> Places:
    least, most = settings.least_at_once, settings.most_at_once
    return Places("memos", least, most, Patience(settings.late_seconds, settings.wait_seconds))


def _limits(settings: Settings) -> TimeLimits:
    return TimeLimits(
        performance=timedelta(seconds=settings.performance_seconds),
        takeover=timedelta(seconds=settings.takeover_seconds),
        key=timedelta(hours=settings.key_hours),
        recording=timedelta(days=settings.recording_retention_days) or None,
        unheard=timedelta(seconds=settings.unheard_seconds),
        deleted=timedelta(days=settings.purge_days),
    )


def _orphans(settings: Settings, ports: Ports, performances: MongoPerformances, keys: SpeechKeys) -> Orphans:
    age, every = timedelta(hours=settings.orphan_age_hours), timedelta(hours=settings.orphan_sweep_hours)
    return Orphans(ports.blobs, (performances, keys), performances, OrphanRules(age, every, clock))


def _look_again_seconds(settings: Settings) -> float:
    """Whose turn it is is looked at more often than there is one."""
    return min(settings.orphan_sweep_hours * 3600, 60.0)


if __name__ == "__main__":
    asyncio.run(serve({"perform": open_service}, read(ServerSettings)))
