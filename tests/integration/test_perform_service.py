"""A performance on a real socket: what it answers, and what it leaves when it fails."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import grpc
import pytest
from prometheus_client import REGISTRY

from newvisions.perform.v1 import perform_service_pb2 as pb
from newvisions.voice.v1 import voice_service_pb2 as voice
from services.kernel.edge import POISON
from services.kernel.statuses import api_error
from tests.integration.perform_stage import (
    AUDIO,
    LIMIT,
    TEXT,
    Broken,
    Peers,
    Refused,
    Stage,
    blobs,
    find_peers,
    furnish,
    heard,
    order,
    performing,
    played,
    refusal,
    staged,
    stream_order,
)


@pytest.fixture
async def stage(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    furnish(monkeypatch, mongo_url, tmp_path)
    async with staged(monkeypatch) as opened:
        yield opened


async def test_a_performance_answers_with_the_memo_and_is_charged_once(stage: Stage) -> None:
    done = await stage.perform()
    assert (done.text, done.audio_base64, done.voice_source) == (TEXT, AUDIO, "local_clone")
    assert (done.char_count, done.monthly_limit) == (len(TEXT), LIMIT)
    assert (done.chars_used_raw, done.chars_used_effective) == (len(TEXT), len(TEXT))
    assert stage.peers.charged == {done.recording_id: len(TEXT)}
    assert not stage.peers.reserved
    await stage.peers.until(lambda: not stage.peers.leased)


class SlowToLetGo(Peers):
    """A voice service that lets a voice go when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def ReleaseVoice(self, request: voice.ReleaseVoiceRequest, context: Any) -> Any:
        await self.let_go.wait()
        return await super().ReleaseVoice(request, context)


@pytest.mark.parametrize("fails", [True, False], ids=["fails", "hangs"])
async def test_letting_the_voice_go_delays_no_answer_and_decides_nothing(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path)
    peers = SlowToLetGo()
    if fails:
        peers.let_go.set()
        peers.fail["release"] = Broken("Away.")
    async with staged(monkeypatch, peers) as stage:
        first = await stage.perform()
        assert (await stage.performance(first.recording_id)).state == "succeeded"
        # It was delivered: the same card again is another memo.
        assert (await stage.perform()).recording_id != first.recording_id
        deleted = pb.DeleteRecordingRequest(recording_id=first.recording_id)
        await stage.stub.DeleteRecording(deleted, **stage.by())
        peers.let_go.set()
        await peers.until(lambda: not peers.leased)


@pytest.mark.parametrize(("model", "priced"), [("quick", "quick"), ("", "tone")])
async def test_a_memo_is_priced_by_the_model_that_spoke_it(stage: Stage, model: str, priced: str) -> None:
    """By its engine, when the speech service is of a release that does not say."""
    stage.peers.model = model
    done = await stage.perform()
    assert stage.peers.priced == {done.recording_id: priced}


async def test_its_recording_is_listed_without_a_word_of_the_secret_in_title_or_filename(
    stage: Stage,
) -> None:
    done = await stage.perform()
    [kept] = (await stage.recordings()).recordings
    assert (kept.id, kept.text, kept.routine_type) == (done.recording_id, TEXT, "cards")
    assert kept.title == "New Recording"
    assert kept.date <= datetime.now(UTC).date().isoformat()
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


async def test_nothing_is_composed_without_credits_and_a_voice(stage: Stage) -> None:
    stage.peers.fail["lease"] = Refused("There is no voice.")
    await refusal(stage.perform())
    assert not {"compose", "speak"} & set(stage.peers.calls)


async def test_the_words_are_written_while_the_voice_is_cloned_again(stage: Stage) -> None:
    stage.peers.recloned = asyncio.Event()
    performing = asyncio.create_task(stage.perform())
    await stage.peers.until(lambda: "compose" in stage.peers.calls)
    assert not {"recloned", "speak"} & set(stage.peers.calls)
    stage.peers.recloned.set()
    assert (await performing).text == TEXT
    await stage.peers.until(lambda: not (stage.peers.reserved or stage.peers.leased))


async def test_without_credits_nothing_is_composed_for_a_voice_that_is_being_made(stage: Stage) -> None:
    stage.peers.recloned = asyncio.Event()
    stage.peers.fail["reserve"] = Refused("No credits are left.")
    assert await refusal(stage.perform()) == (402, "CREDITS_EXHAUSTED")
    assert not {"compose", "recloned", "speak"} & set(stage.peers.calls)
    assert not stage.peers.leased


@pytest.mark.parametrize("step", ["compose", "recloned"])
async def test_a_failure_while_the_voice_is_cloned_again_leaves_nothing(stage: Stage, step: str) -> None:
    stage.peers.recloned = asyncio.Event()
    if step == "recloned":
        stage.peers.recloned.set()
    stage.peers.fail[step] = Broken("Too busy.")
    assert await refusal(stage.perform()) == (503, "SPEECH_ENGINE_BUSY")
    assert {"give back", "release"} <= set(stage.peers.calls)
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged)


async def test_audio_that_is_not_whole_is_no_success(stage: Stage, tmp_path: Path) -> None:
    stage.peers.whole = False
    assert await refusal(stage.perform()) == (502, "AUDIO_NOT_WHOLE")
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged or blobs(tmp_path))


async def test_a_full_or_broken_store_costs_nothing(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "recordings").write_text("a file where a folder must be")
    assert await refusal(stage.perform()) == (503, "RECORDING_STORE_UNAVAILABLE")
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged)


def streams_broken() -> float:
    labels = {"method": "newvisions.perform.v1.PerformService.StreamPerform"}
    return REGISTRY.get_sample_value("rpc_streams_broken_total", labels) or 0.0


async def test_a_stream_that_fails_before_audio_is_refused_and_after_it_is_cut(stage: Stage) -> None:
    stage.peers.fail["compose"] = Broken("Too busy.")
    assert await refusal(heard(stage.stub.StreamPerform(stream_order(), **stage.by()))) == (
        503,
        "SPEECH_ENGINE_BUSY",
    )
    stage.peers.fail = {"speak on": Broken("Too busy.")}
    before = streams_broken()
    chunks = [chunk async for chunk in stage.raw_stream(stream_order())]
    assert chunks[-1] == POISON
    # To its server the call ended well, and it must not look like that to who counts.
    assert streams_broken() == before + 1
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


async def test_health_is_ok_while_everything_serves(stage: Stage) -> None:
    assert (await stage.stub.GetHealth(pb.GetHealthRequest())).status == "ok"


async def test_health_names_a_peer_that_is_down(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path)
    async with played(Peers()) as address:
        find_peers(monkeypatch, address)
        monkeypatch.setenv("PERFORM_SYNTHESIS_ADDRESS", "127.0.0.1:1")
        async with performing() as channel:
            call = Stage(channel, Peers()).stub.GetHealth(pb.GetHealthRequest())
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call
    error, retry_after = api_error(failure.value)
    assert error is not None
    assert (error.error, error.http_status) == ("NOT_READY", 503)
    assert error.message == "Not available right now: synthesis."
    assert retry_after > 0
