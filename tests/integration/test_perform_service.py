import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pymongo import AsyncMongoClient

from newvisions.perform.v1 import perform_service_pb2 as pb
from services.kernel.edge import POISON, api_error
from services.kernel.errors import Kind, ServiceError
from services.perform.domain import Performance, Phase, State
from services.perform.mongo import MongoPerformances
from tests.integration.perform_stage import (
    AUDIO,
    LIMIT,
    TEXT,
    Peers,
    Stage,
    order,
    performing,
    played,
    refusal,
    stream_order,
)


class Refused(ServiceError):
    """Any refusal of a peer."""

    kind, reason = Kind.UNPAID, "CREDITS_EXHAUSTED"


class Broken(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"


@pytest.fixture
def environment(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PERFORM_MONGO_URL", mongo_url)
    monkeypatch.setenv("PERFORM_MONGO_DATABASE", f"perform-{uuid4().hex}")
    monkeypatch.setenv("PERFORM_BLOB_URL", (tmp_path / "blobs").as_uri())
    monkeypatch.setenv("PERFORM_SWEEP_INTERVAL_SECONDS", "0.05")
    return monkeypatch


@pytest.fixture
def impatient(environment: pytest.MonkeyPatch) -> None:
    """The sweeper takes over at once; name it before the stage."""
    environment.setenv("PERFORM_TAKEOVER_SECONDS", "0.1")


@pytest.fixture
async def stage(environment: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    peers = Peers()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(played(peers))
        for peer in ("AUTH", "VOICE", "CONTENT", "SYNTHESIS"):
            environment.setenv(f"PERFORM_{peer}_ADDRESS", address)
        yield Stage(await stack.enter_async_context(performing()), peers)


def blobs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "blobs").rglob("*.mp3"))


async def outcome(call: Any) -> str:
    """The text of the memo, or the reason why there is none."""
    try:
        return str((await call).text)
    except grpc.aio.AioRpcError as failure:
        error, _ = api_error(failure)
        return error.error if error else failure.code().name


async def heard(messages: Any) -> bytes:
    return b"".join([message.body.data async for message in messages])


async def test_a_performance_answers_with_the_memo_and_is_charged_once(stage: Stage) -> None:
    done = await stage.perform()
    assert (done.text, done.audio_base64, done.voice_source) == (TEXT, AUDIO, "local_clone")
    assert (done.char_count, done.monthly_limit) == (len(TEXT), LIMIT)
    assert (done.chars_used_raw, done.chars_used_effective) == (len(TEXT), len(TEXT))
    assert stage.peers.charged == {done.recording_id: len(TEXT)}
    assert not stage.peers.reserved
    assert not stage.peers.leased


async def test_its_recording_is_listed_without_a_word_of_the_secret_in_title_or_filename(
    stage: Stage,
) -> None:
    done = await stage.perform()
    [kept] = (await stage.recordings()).recordings
    assert (kept.id, kept.text, kept.routine_type) == (done.recording_id, TEXT, "cards")
    assert (kept.title, kept.date) == ("New Recording", datetime.now(UTC).date().isoformat())
    assert (kept.duration_seconds, kept.size_bytes, list(kept.waveform)) == (7.5, len(AUDIO), [*range(64)])
    assert done.filename == f"new-recording-{kept.date}-{UUID(kept.id).hex}.mp3"


async def test_settings_are_the_users_own_except_where_overridden(stage: Stage) -> None:
    stage.peers.settings.background_sound = True
    stage.peers.settings.background_volume = 30
    stage.peers.settings.voice_note_name = "Tuesday"
    override = pb.SettingsOverride(
        voice_language="spanish", voice_stability=0, background_volume=0, voice_note_date="2020-02-29"
    )
    await stage.stub.Perform(order(settings_override=override), **stage.by())
    [asked] = stage.peers.spoken
    assert (asked.language, asked.delivery.stability_percent, asked.delivery.similarity_percent) == (
        "es",
        0,
        75,
    )
    assert asked.HasField("background")
    assert asked.background.volume_percent == 0
    [kept] = (await stage.recordings()).recordings
    assert (kept.title, kept.date) == ("Tuesday", "2020-02-29")


async def test_a_stream_sends_headers_with_the_first_audio_and_then_all_of_it(stage: Stage) -> None:
    call = stage.stub.StreamPerform(stream_order(), **stage.by())
    messages = aiter(call)
    first = await anext(messages)
    assert 0 < len(first.body.data) <= 4096
    assert first.body.content_type == "audio/mpeg"
    headers = dict(await call.initial_metadata())
    assert unquote(headers["voice-note-text"]) == TEXT
    assert headers["voice-source"] == "local_clone"
    assert float(headers["expected-duration-seconds"]) == pytest.approx(len(TEXT) / 14, abs=0.1)
    assert first.body.data + await heard(messages) == AUDIO
    [kept] = (await stage.recordings()).recordings
    assert kept.id == headers["recording-id"]
    await stage.peers.until(lambda: not stage.peers.reserved and not stage.peers.leased)
    assert stage.peers.charged == {kept.id: len(TEXT)}


@pytest.mark.parametrize("step", ["reserve", "lease", "compose", "speak", "speak on"])
async def test_a_failure_at_any_step_is_told_and_leaves_nothing(
    stage: Stage, step: str, tmp_path: Path
) -> None:
    stage.peers.fail[step] = Refused("No credits are left.")
    assert await refusal(stage.perform(idempotency_key="k")) == (402, "CREDITS_EXHAUSTED")
    assert {"give back", "release"} <= set(stage.peers.calls)
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged or blobs(tmp_path))
    assert not (await stage.recordings()).recordings
    stage.peers.fail.clear()
    assert (await stage.perform(idempotency_key="k")).text == TEXT


async def test_an_undo_that_failed_is_repeated_long_before_the_sweeper_comes(stage: Stage) -> None:
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


async def test_nothing_is_composed_without_credits_and_a_voice(stage: Stage) -> None:
    stage.peers.fail["lease"] = Refused("There is no voice.")
    await refusal(stage.perform())
    assert not {"compose", "speak"} & set(stage.peers.calls)


async def test_audio_that_is_not_whole_is_no_success(stage: Stage, tmp_path: Path) -> None:
    stage.peers.whole = False
    assert await refusal(stage.perform()) == (502, "AUDIO_NOT_WHOLE")
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged or blobs(tmp_path))


async def test_a_full_or_broken_store_costs_nothing(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "recordings").write_text("a file where a folder must be")
    assert await refusal(stage.perform()) == (503, "SERVICE_UNAVAILABLE")
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged)


async def test_a_stream_that_fails_before_audio_is_refused_and_after_it_is_cut(stage: Stage) -> None:
    stage.peers.fail["compose"] = Broken("Too busy.")
    assert await refusal(heard(stage.stub.StreamPerform(stream_order(), **stage.by()))) == (
        503,
        "SPEECH_ENGINE_BUSY",
    )
    stage.peers.fail = {"speak on": Broken("Too busy.")}
    chunks = [chunk async for chunk in stage.raw_stream(stream_order())]
    assert chunks[-1] == POISON
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged)


async def test_a_listener_who_leaves_in_the_middle_pays_nothing_and_keeps_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    stage.peers.held.clear()
    call = stage.stub.StreamPerform(stream_order(), **stage.by())
    await call.read()
    call.cancel()
    await stage.peers.until(lambda: {"speech cancelled", "give back", "release"} <= set(stage.peers.calls))
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged or blobs(tmp_path))
    assert not (await stage.recordings()).recordings


async def test_a_memo_whose_caller_left_is_there_when_asked_for_again(stage: Stage) -> None:
    stage.peers.held.clear()
    first = asyncio.create_task(stage.perform(idempotency_key="again"))
    await stage.peers.until(lambda: "speak" in stage.peers.calls)
    first.cancel()
    second = asyncio.create_task(stage.perform(idempotency_key="again"))
    stage.peers.held.set()
    assert (await second).text == TEXT
    assert stage.peers.charged == {(await second).recording_id: len(TEXT)}


async def test_twins_with_one_key_are_one_performance(stage: Stage) -> None:
    answers = await asyncio.gather(*(stage.perform(idempotency_key="twin") for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert stage.peers.calls.count("speak") == 1
    assert await stage.perform(idempotency_key="twin") == answers[0]
    replay = stage.stub.StreamPerform(stream_order(), **stage.by(idempotency_key="twin"))
    assert await heard(replay) == AUDIO
    assert stage.peers.charged == {answers[0].recording_id: len(TEXT)}


async def test_a_key_belongs_to_one_body_and_one_user(stage: Stage) -> None:
    first = await stage.perform(idempotency_key="mine")
    other = stage.stub.Perform(order(value="king of clubs"), **stage.by(idempotency_key="mine"))
    assert await refusal(other) == (409, "IDEMPOTENCY_KEY_REUSED")
    second = await stage.perform("somebody-else", idempotency_key="mine")
    assert second.recording_id != first.recording_id


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_keys_that_are_none_are_refused(stage: Stage, key: str) -> None:
    assert await refusal(stage.perform(idempotency_key=key)) == (400, "IDEMPOTENCY_KEY_INVALID")


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"value": "v" * 201}, 400, "VALUE_TOO_LONG"),
        ({"user_id": "somebody-else"}, 404, "USER_NOT_FOUND"),
        ({"settings_override": {"voice_note_date": "2023-02-29"}}, 400, "INVALID_REQUEST"),
        ({"routine_type": "coins"}, 400, "INVALID_REQUEST"),
    ],
)
async def test_bad_orders_are_refused_before_anything_happens(
    stage: Stage, changes: dict[str, Any], status: int, reason: str
) -> None:
    assert await refusal(stage.stub.Perform(order(**changes), **stage.by())) == (status, reason)
    assert not stage.peers.calls


async def test_the_shipped_client_may_send_longer_values(stage: Stage) -> None:
    legacy = stage.by(x_envoy_original_path="/api/perform")
    assert (await stage.stub.Perform(order(value="v" * 500, user_id=stage.user_id), **legacy)).text == TEXT


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


async def test_a_deleted_recording_is_gone_with_its_audio_and_its_key_makes_no_new_one(
    stage: Stage, tmp_path: Path
) -> None:
    done = await stage.perform(idempotency_key="gone")
    asked = {"recording_id": done.recording_id}
    await stage.stub.DeleteRecording(pb.DeleteRecordingRequest(**asked), **stage.by())
    assert not blobs(tmp_path)
    again = stage.stub.DeleteRecording(pb.DeleteRecordingRequest(**asked), **stage.by())
    assert await refusal(again) == (404, "RECORDING_NOT_FOUND")
    assert await refusal(stage.perform(idempotency_key="gone")) == (404, "RECORDING_NOT_FOUND")


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
    assert await refusal(call) == (416, "RANGE_NOT_SATISFIABLE")


async def test_a_recording_is_active_until_a_new_sample_comes_and_listed_without_the_voice_service(
    stage: Stage,
) -> None:
    await stage.perform()
    assert [each.is_active_sample for each in (await stage.recordings()).recordings] == [True]
    stage.peers.sample_at = Timestamp(seconds=4_000_000_000)
    assert [each.is_active_sample for each in (await stage.recordings()).recordings] == [False]
    stage.peers.fail["meta"] = Broken("Away.")
    assert [each.is_active_sample for each in (await stage.recordings()).recordings] == [False]


async def test_a_memo_that_could_not_be_settled_is_kept_and_charged_once_later(
    impatient: None, stage: Stage
) -> None:
    stage.peers.fail["settle"] = Broken("Away.")
    assert await refusal(stage.perform(idempotency_key="late")) == (503, "SPEECH_ENGINE_BUSY")
    [kept] = (await stage.recordings()).recordings
    stage.peers.fail.clear()
    answer = await stage.perform(idempotency_key="late")
    assert (answer.recording_id, answer.audio_base64) == (kept.id, AUDIO)
    assert stage.peers.charged == {kept.id: len(TEXT)}
    assert stage.peers.calls.count("speak") == 1


@pytest.mark.parametrize("phase", [Phase.DOING, Phase.UNDOING])
async def test_what_a_crash_left_is_undone_by_the_next_process(
    environment: pytest.MonkeyPatch, mongo_url: str, phase: Phase
) -> None:
    left = await _left_behind(mongo_url, environment, phase)
    peers = Peers()
    async with played(peers) as address:
        for peer in ("AUTH", "VOICE", "CONTENT", "SYNTHESIS"):
            environment.setenv(f"PERFORM_{peer}_ADDRESS", address)
        peers.reserved.add(str(left))
        peers.leased.add(str(left))
        async with performing():
            await peers.until(lambda: not peers.reserved and not peers.leased)
    assert not peers.charged


async def _left_behind(mongo_url: str, environment: pytest.MonkeyPatch, phase: Phase) -> UUID:
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    left = Performance(uuid4(), "u", "", "f", long_ago, State.RUNNING, phase, long_ago)
    opened: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongo_url, tz_aware=True, uuidRepresentation="standard"
    )
    async with opened as client:
        journal = MongoPerformances(client, os.environ["PERFORM_MONGO_DATABASE"], 4)
        await journal.prepare()
        assert await journal.claim(left) is None
    return left.performance_id


async def test_health_is_ok_while_everything_serves(stage: Stage) -> None:
    assert (await stage.stub.GetHealth(pb.GetHealthRequest())).status == "ok"


async def test_health_names_a_peer_that_is_down(environment: pytest.MonkeyPatch) -> None:
    async with played(Peers()) as address:
        for peer in ("AUTH", "VOICE", "CONTENT"):
            environment.setenv(f"PERFORM_{peer}_ADDRESS", address)
        environment.setenv("PERFORM_SYNTHESIS_ADDRESS", "127.0.0.1:1")
        async with performing() as channel:
            call = Stage(channel, Peers()).stub.GetHealth(pb.GetHealthRequest())
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call
    error, retry_after = api_error(failure.value)
    assert error is not None
    assert (error.error, error.http_status) == ("NOT_READY", 503)
    assert error.message == "Not available right now: synthesis."
    assert retry_after > 0
