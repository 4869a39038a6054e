"""Object stores that take calls and do not answer, as S3 would be asked, at an address of our own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import uuid4

import grpc
import pytest

from newvisions.perform.v1 import perform_service_pb2 as pb
from services.perform.blobs import StoredBlobs
from services.perform.errors import RecordingStoreUnavailable
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import VoiceStoreUnavailable
from tests.integration.perform_stage import Refused, furnish, refusal, staged

SECONDS = 0.6


@dataclass
class Silent:
    """Hears everything, and says nothing."""

    asked: list[bytes] = field(default_factory=list)

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readline())
        await reader.read()
        writer.close()


@pytest.fixture
async def silent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Silent]:
    store = Silent()
    server = await asyncio.start_server(store.hear, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": "memos",
        "AWS_SECRET_ACCESS_KEY": "memos",
    }.items():
        monkeypatch.setenv(name, value)
    async with server:
        yield store


Ask = Callable[[], Awaitable[object]]


def of_recordings() -> Ask:
    blobs = StoredBlobs("s3://memos/here", SECONDS)
    return lambda: blobs.put("ada", uuid4(), b"audio")


def of_voices() -> Ask:
    blobs = SealedBlobs(open_store("s3://memos/here", SECONDS), Keys([bytes(32)]), SECONDS)
    return lambda: blobs.put("sample", b"a voice")


@pytest.mark.parametrize(
    ("store", "away"),
    [(of_recordings, RecordingStoreUnavailable), (of_voices, VoiceStoreUnavailable)],
    ids=["recordings", "voices"],
)
async def test_a_store_that_does_not_answer_is_away_in_good_time_and_holds_nobody_else(
    silent: Silent, store: Callable[[], Ask], away: type[Exception]
) -> None:
    ask, began = store(), monotonic()
    waiting = [asyncio.create_task(_failure(ask())) for _ in range(40)]
    async with asyncio.timeout(SECONDS):
        await asyncio.to_thread(lambda: None)
    assert {type(failure) for failure in await asyncio.gather(*waiting)} == {away}
    assert monotonic() - began < 2 * SECONDS
    assert silent.asked


async def _failure(call: Awaitable[object]) -> BaseException | None:
    try:
        await call
    except Exception as failure:
        return failure
    return None


def soon_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for orphans, which a stage waits for at its end."""
    monkeypatch.setenv("AWS_TIMEOUT", "300ms")


async def test_who_is_refused_does_not_wait_for_a_store_that_has_nothing_of_theirs(
    silent: Silent, mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path, blob_url="s3://memos/here")
    soon_given_up(monkeypatch)
    async with staged(monkeypatch) as stage:
        stage.peers.fail["compose"] = Refused("No credits are left.")
        assert await refusal(stage.perform()) == (402, "CREDITS_EXHAUSTED")
    # The search for orphans has its list.
    assert {line.split()[0] for line in silent.asked} <= {b"GET"}


async def test_a_store_that_hangs_is_found_away_again_and_again_by_one_question(silent: Silent) -> None:
    blobs = StoredBlobs("s3://memos/here")
    for _ in range(2):
        with pytest.raises(RecordingStoreUnavailable):
            await blobs.ping()
    assert len(silent.asked) == 1


async def test_health_names_a_store_that_is_away(
    silent: Silent, mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path, blob_url="s3://memos/here")
    soon_given_up(monkeypatch)
    async with staged(monkeypatch) as stage:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stage.stub.GetHealth(pb.GetHealthRequest())
    assert failure.value.details() == "Not available right now: recordings."
