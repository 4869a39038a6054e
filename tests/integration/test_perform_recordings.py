"""Recordings on a real socket: listed, heard, renamed and deleted by their owner."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from newvisions.perform.v1 import perform_service_pb2 as pb
from services.kernel.statuses import api_error
from tests.integration.perform_stage import (
    AUDIO,
    TEXT,
    Broken,
    Stage,
    blobs,
    furnish,
    refusal,
    staged,
)


@pytest.fixture
async def stage(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    furnish(monkeypatch, mongo_url, tmp_path)
    async with staged(monkeypatch) as opened:
        yield opened


async def test_pages_stay_as_they_were_while_recordings_are_added_and_deleted(stage: Stage) -> None:
    made = [(await stage.perform()).recording_id for _ in range(5)][::-1]
    first = await stage.recordings(page_size=2)
    await stage.perform()
    await stage.stub.DeleteRecording(pb.DeleteRecordingRequest(recording_id=made[1]), **stage.by())
    second = await stage.recordings(page_size=2, page_token=first.next_page_token)
    third = await stage.recordings(page_size=2, page_token=second.next_page_token)
    assert [each.id for page in (first, second, third) for each in page.recordings] == made
    assert third.next_page_token == ""
    assert await refusal(stage.recordings(page_token="nonsense")) == (400, "INVALID_PAGE_TOKEN")


async def test_other_users_recordings_do_not_exist(stage: Stage) -> None:
    asked = {"recording_id": (await stage.perform()).recording_id}
    calls = (
        stage.stub.GetRecording(pb.GetRecordingRequest(**asked), **stage.by("thief")),
        stage.stub.UpdateRecording(pb.UpdateRecordingRequest(title="x", **asked), **stage.by("thief")),
        stage.stub.DeleteRecording(pb.DeleteRecordingRequest(**asked), **stage.by("thief")),
        stage.stub.GetRecordingAudio(pb.GetRecordingAudioRequest(**asked), **stage.by("thief")),
    )
    for call in calls:
        assert await refusal(call) == (404, "RECORDING_NOT_FOUND")
    assert len((await stage.recordings()).recordings) == 1


async def test_a_recording_can_be_renamed_and_back_dated_and_its_old_link_still_works(stage: Stage) -> None:
    done = await stage.perform()
    change = pb.UpdateRecordingRequest(recording_id=done.recording_id, title="Café notes", date="2019-01-02")
    changed = await stage.stub.UpdateRecording(change, **stage.by())
    assert (changed.title, changed.date, changed.text) == ("Café notes", "2019-01-02", TEXT)
    found = await stage.stub.GetRecording(
        pb.GetRecordingRequest(recording_id=done.recording_id), **stage.by()
    )
    assert (found.title, found.date) == ("Café notes", "2019-01-02")
    audio = await stage.stub.GetRecordingAudio(
        pb.GetRecordingAudioRequest(filename=done.filename), **stage.by()
    )
    assert audio.body.data == AUDIO


@pytest.mark.parametrize(("purge_days", "audio_left"), [(0, 0), (1, 1)])
async def test_a_deleted_recording_is_gone_and_its_key_makes_no_new_one(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, purge_days: int, audio_left: int
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path, purge_days=purge_days)
    async with staged(monkeypatch) as stage:
        done = await stage.perform(idempotency_key="gone")
        asked = {"recording_id": done.recording_id}
        await stage.stub.DeleteRecording(pb.DeleteRecordingRequest(**asked), **stage.by())
        assert len(blobs(tmp_path)) == audio_left
        for call in (
            stage.stub.DeleteRecording(pb.DeleteRecordingRequest(**asked), **stage.by()),
            stage.stub.GetRecording(pb.GetRecordingRequest(**asked), **stage.by()),
            stage.stub.GetRecordingAudio(pb.GetRecordingAudioRequest(**asked), **stage.by()),
            stage.perform(idempotency_key="gone"),
        ):
            assert await refusal(call) == (404, "RECORDING_NOT_FOUND")
        assert not (await stage.recordings()).recordings


async def test_without_room_for_a_recording_nothing_is_paid_for(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path, most_recordings=1)
    async with staged(monkeypatch) as stage:
        done = await stage.perform()
        assert await refusal(stage.perform()) == (409, "RECORDINGS_FULL")
        assert stage.peers.calls.count("compose") == 1
        await stage.peers.until(lambda: not (stage.peers.reserved or stage.peers.leased))
        await stage.stub.DeleteRecording(
            pb.DeleteRecordingRequest(recording_id=done.recording_id), **stage.by()
        )
        assert (await stage.perform()).text == TEXT


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, len(AUDIO)), ("bytes=-5", len(AUDIO) - 5, len(AUDIO))],
)
async def test_a_range_of_the_audio_is_answered_with_206(
    stage: Stage, asked: str, start: int, end: int
) -> None:
    done = await stage.perform()
    request = pb.GetRecordingAudioRequest(recording_id=done.recording_id)
    call = stage.stub.GetRecordingAudio(request, **stage.by(range=asked))
    assert (await call).body.data == AUDIO[start:end]
    headers = dict(await call.initial_metadata())
    assert headers["x-http-status"] == "206"
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(AUDIO)}"


async def test_a_range_behind_the_end_is_416(stage: Stage) -> None:
    request = pb.GetRecordingAudioRequest(recording_id=(await stage.perform()).recording_id)
    call = stage.stub.GetRecordingAudio(request, **stage.by(range="bytes=9999999-"))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error, _ = api_error(failure.value)
    assert error is not None
    assert (error.http_status, error.error) == (416, "RANGE_NOT_SATISFIABLE")
    assert dict(failure.value.trailing_metadata() or ())["content-range"] == f"bytes */{len(AUDIO)}"


async def test_a_recording_is_active_until_a_new_sample_comes_and_listed_without_the_voice_service(
    stage: Stage,
) -> None:
    await stage.perform()
    assert [each.is_active_sample for each in (await stage.recordings()).recordings] == [True]
    stage.peers.sample_at = Timestamp(seconds=4_000_000_000)
    assert [each.is_active_sample for each in (await stage.recordings()).recordings] == [False]
    stage.peers.fail["meta"] = Broken("Away.")
    assert [each.is_active_sample for each in (await stage.recordings()).recordings] == [False]
