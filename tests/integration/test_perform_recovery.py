"""What a failure or a crash leaves half done is ended by somebody else."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from pymongo import AsyncMongoClient

from dev.ports import free_port
from services.perform.domain import Performance, Phase, State
from services.perform.mongo import MongoPerformances
from services.perform.performing import OUTCOMES
from tests.integration.perform_stage import (
    AUDIO,
    TEXT,
    Broken,
    Peers,
    Refused,
    Stage,
    find_peers,
    furnish,
    outcome,
    performing,
    played,
    refusal,
    staged,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def impatient(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Who does not say for a second that they are alive is taken for dead."""
    furnish(monkeypatch, mongo_url, tmp_path, takeover_seconds=1)
    return monkeypatch


@pytest.fixture
async def stage(impatient: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(impatient) as opened:
        yield opened


async def test_an_undo_that_failed_is_repeated_long_before_the_sweeper_comes(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path)
    async with staged(monkeypatch) as stage:
        stage.peers.fail = {"compose": Refused("No."), "give back": Broken("Away.")}
        assert await refusal(stage.perform(idempotency_key="k")) == (402, "CREDITS_EXHAUSTED")
        stage.peers.fail.clear()
        tries = stage.peers.calls.count("give back")
        await stage.peers.until(lambda: stage.peers.calls.count("give back") > tries)
        async with asyncio.timeout(10):
            while (told := await outcome(stage.perform(idempotency_key="k"))) != TEXT:
                # A twin that came before the first outcome was written down hears that outcome.
                assert told == "CREDITS_EXHAUSTED"
        assert not stage.peers.reserved


def counted(state: str, reason: str) -> float:
    return float(OUTCOMES.labels(state, reason)._value.get())


@pytest.mark.parametrize("headers", [{"idempotency_key": "late"}, {}], ids=["with a key", "without"])
async def test_a_memo_that_could_not_be_settled_is_kept_and_charged_once_later(
    stage: Stage, headers: dict[str, str]
) -> None:
    stage.peers.fail["settle"] = Broken("Away.")
    before = counted("unsettled", "SPEECH_ENGINE_BUSY"), counted("succeeded", "")
    assert await refusal(stage.perform(**headers)) == (503, "SPEECH_ENGINE_BUSY")
    after = counted("unsettled", "SPEECH_ENGINE_BUSY"), counted("succeeded", "")
    assert after == (before[0] + 1, before[1])
    [kept] = (await stage.recordings()).recordings
    stage.peers.fail.clear()
    answer = await stage.perform(**headers)
    assert (answer.recording_id, answer.audio_base64) == (kept.id, AUDIO)
    assert stage.peers.charged == {kept.id: len(TEXT)}
    assert stage.peers.calls.count("speak") == 1


@pytest.mark.parametrize("phase", [Phase.DOING, Phase.UNDOING])
async def test_what_a_crash_left_is_undone_by_the_next_process(
    impatient: pytest.MonkeyPatch, mongo_url: str, phase: Phase
) -> None:
    left = await _left_behind(mongo_url, phase)
    peers = Peers()
    async with played(peers) as address:
        find_peers(impatient, address)
        peers.reserved.add(str(left))
        peers.leased.add(str(left))
        async with performing():
            await peers.until(lambda: not peers.reserved and not peers.leased)
    assert not peers.charged


async def _left_behind(mongo_url: str, phase: Phase) -> UUID:
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    left = Performance(uuid4(), "u", "", "f", long_ago, State.RUNNING, phase, long_ago)
    opened: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    )
    async with opened as client:
        journal = MongoPerformances(client, os.environ["PERFORM_MONGO_DATABASE"])
        await journal.prepare()
        assert await journal.claim(left) is None
    return left.performance_id


@asynccontextmanager
async def victim(peers: Peers) -> AsyncIterator[tuple[Stage, asyncio.subprocess.Process]]:
    """The service as a process of its own, which may be killed."""
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "SERVER_ADDRESS": address,
        # It is not the one to end what it began.
        "PERFORM_SWEEP_INTERVAL_SECONDS": "600",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.perform", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            async with asyncio.timeout(30):
                await channel.channel_ready()
            yield Stage(channel, peers), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("headers", [{"idempotency_key": "k"}, {}], ids=["with a key", "without"])
@pytest.mark.parametrize("sweeps", ["600", "0.05"], ids=["who waits ends it", "a sweeper ends it"])
async def test_who_waits_for_a_process_that_is_killed_performs_instead(
    impatient: pytest.MonkeyPatch, headers: dict[str, str], sweeps: str
) -> None:
    peers = Peers()
    impatient.setenv("PERFORM_SWEEP_INTERVAL_SECONDS", sweeps)
    async with played(peers) as address:
        find_peers(impatient, address)
        async with victim(peers) as (first, process), performing() as channel:
            peers.held.clear()
            killed = asyncio.create_task(outcome(first.perform(**headers)))
            await peers.until(lambda: "speak" in peers.calls)
            twin = asyncio.create_task(Stage(channel, peers, first.user_id).perform(**headers))
            process.kill()
            assert await killed == "UNAVAILABLE"
            peers.held.set()
            answer = await twin
    assert answer.audio_base64 == AUDIO
    assert peers.charged == {answer.recording_id: len(TEXT)}
    assert not peers.reserved
    await peers.until(lambda: not peers.leased)


async def test_a_performance_that_takes_long_is_not_taken_over_while_its_process_lives(stage: Stage) -> None:
    stage.peers.held.clear()
    performance = asyncio.create_task(stage.perform())
    await stage.peers.until(lambda: "speak" in stage.peers.calls)
    begun = datetime.now(UTC)
    async with AsyncMongoClient[dict[str, Any]](
        os.environ["PERFORM_MONGO_URL"], tz_aware=True, uuidRepresentation="standard"
    ) as client:
        documents = client[os.environ["PERFORM_MONGO_DATABASE"]]["performances"]
        async with asyncio.timeout(10):
            # Three times as long as a dead one would have been left alone.
            while True:
                document = await documents.find_one({})
                assert document is not None
                assert document["phase"] == Phase.DOING
                if document["due_at"] > begun + timedelta(seconds=3):
                    break
                await asyncio.sleep(0.02)
    stage.peers.held.set()
    assert (await performance).audio_base64 == AUDIO
    assert "give back" not in stage.peers.calls
