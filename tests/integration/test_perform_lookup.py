"""What became of a performance, for whoever has its id."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from newvisions.perform.v1 import perform_service_pb2 as pb
from tests.integration.perform_stage import (
    TEXT,
    Broken,
    Refused,
    Stage,
    furnish,
    refusal,
    staged,
    stream_order,
    told,
)


@pytest.fixture
async def stage(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    furnish(monkeypatch, mongo_url, tmp_path)
    async with staged(monkeypatch) as opened:
        yield opened


async def test_a_success_tells_its_recording_and_its_price(stage: Stage) -> None:
    done = await stage.perform()
    found = await stage.performance(done.recording_id)
    assert (found.id, found.recording_id, found.state) == (done.recording_id, done.recording_id, "succeeded")
    assert (found.charge, found.reason) == (len(TEXT), "")
    assert found.created_at.ToMilliseconds() <= found.ended_at.ToMilliseconds()


@pytest.mark.parametrize("step", ["reserve", "lease", "compose", "speak", "speak on"])
async def test_a_failure_at_any_step_can_be_looked_up(stage: Stage, step: str) -> None:
    stage.peers.fail[step] = Refused("No credits are left.")
    found = await stage.performance(await told(stage.perform()))
    assert (found.state, found.reason, found.message) == (
        "failed",
        "CREDITS_EXHAUSTED",
        "No credits are left.",
    )
    assert (found.recording_id, found.charge, found.HasField("ended_at")) == ("", 0, True)


async def test_who_joined_a_failure_learns_its_id_as_well(stage: Stage) -> None:
    stage.peers.held.clear()
    calls = [asyncio.create_task(told(stage.perform(idempotency_key="k"))) for _ in range(3)]
    await stage.peers.until(lambda: "speak" in stage.peers.calls)
    stage.peers.fail["speak on"] = Broken("Too busy.")
    stage.peers.held.set()
    ids = set(await asyncio.gather(*calls))
    assert {(await stage.performance(each)).reason for each in ids} == {"SPEECH_ENGINE_BUSY"}


async def test_a_stream_that_was_left_is_cancelled(stage: Stage) -> None:
    stage.peers.held.clear()
    call = stage.stub.StreamPerform(stream_order(), **stage.by())
    await call.read()
    performance_id = str(dict(await call.initial_metadata())["recording-id"])
    found = await stage.performance(performance_id)
    assert (found.state, found.HasField("ended_at")) == ("running", False)
    call.cancel()
    found = await stage.ended(performance_id)
    assert (found.state, found.reason, found.charge) == ("cancelled", "CALLER_LEFT", 0)


async def test_a_deleted_recording_is_not_named_any_more(stage: Stage) -> None:
    done = await stage.perform()
    await stage.stub.DeleteRecording(pb.DeleteRecordingRequest(recording_id=done.recording_id), **stage.by())
    found = await stage.performance(done.recording_id)
    assert (found.state, found.recording_id, found.charge) == ("succeeded", "", len(TEXT))


async def test_what_is_not_ones_own_or_not_at_all_is_not_found(stage: Stage) -> None:
    done = await stage.perform()
    for call in (
        stage.performance(done.recording_id, "thief"),
        stage.performance(str(uuid4())),
        stage.performance("nonsense"),
    ):
        assert await refusal(call) == (404, "PERFORMANCE_NOT_FOUND")
