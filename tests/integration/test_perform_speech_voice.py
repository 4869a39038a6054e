"""A voice that its provider has lost, memos about any topic, and who wrote them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf import struct_pb2
from prometheus_client import REGISTRY

from newvisions.content.v1 import content_service_pb2 as content
from newvisions.perform.v1 import perform_service_pb2 as perform
from newvisions.perform.v1 import speech_service_pb2 as pb
from newvisions.perform.v1.speech_service_pb2_grpc import SpeechServiceStub
from newvisions.synthesis.v1 import synthesis_service_pb2 as synthesis
from newvisions.voice.v1 import voice_service_pb2 as voice
from services.kernel.caller import caller
from services.kernel.edge import POISON
from services.kernel.errors import Kind, ServiceError
from tests.integration.perform_stage import (
    AUDIO,
    PIECES,
    TEXT,
    Peers,
    Stage,
    performing,
    played,
    refusal,
    stream_order,
)

THOUGHT = "I could not say why, but all through breakfast Lisbon was what I kept coming back to, again."


class Gone(ServiceError):
    kind, reason = Kind.CONFLICT, "PROVIDER_VOICE_MISSING"


class Away(ServiceError):
    kind, reason, retry_after_seconds = Kind.UNAVAILABLE, "SPEECH_ENGINE_UNAVAILABLE", 3


class Full(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "VOICE_SLOTS_EXHAUSTED"


class Provider(Peers):
    """Keeps voices with names, and loses those in `lost`; a lease after a report is another voice."""

    def __init__(self) -> None:
        super().__init__()
        self.voices = iter(f"voice-{number}" for number in range(1, 100))
        self.current = next(self.voices)
        self.fence = 1
        self.lost: set[str] = set()
        self.lost_in_the_middle = False
        # It speaks for nobody.
        self.away = False
        # There is no overflow, or this release knows of none.
        self.overflow_refused = self.overflow_unknown = False
        self.reported: list[tuple[str, str, int]] = []
        self.thoughts: list[tuple[str, str, str, str]] = []

    async def LeaseVoice(self, request: voice.LeaseVoiceRequest, context: Any) -> Any:
        await super().LeaseVoice(request, context)
        if request.overflow and self.overflow_refused:
            raise Full("There is no overflow.")
        if request.overflow and not self.overflow_unknown:
            return voice.LeaseVoiceResponse(
                engine="local", profile=b"profile", voice_source="local_clone", sample_hash="5a"
            )
        return voice.LeaseVoiceResponse(
            engine="elevenlabs",
            engine_voice_id=self.current,
            voice_source="provider_voice_id",
            sample_hash="5a",
            fence=self.fence,
        )

    async def ReportMissingVoice(self, request: voice.ReportMissingVoiceRequest, context: Any) -> Any:
        await self._note("report")
        self.reported.append((request.user_id, request.engine_voice_id, request.fence))
        self.current, self.fence = next(self.voices), self.fence + 1
        return voice.ReportMissingVoiceResponse()

    async def Synthesize(self, request: synthesis.SynthesizeRequest, context: Any) -> AsyncIterator[Any]:
        if self.lost_in_the_middle:
            yield synthesis.SynthesizeResponse(audio=PIECES[0])
        if self.away and request.engine == "elevenlabs":
            raise Away("The speech provider's quota is spent.")
        if request.engine_voice_id in self.lost:
            raise Gone("The voice is no longer at the speech provider.")
        async for message in super().Synthesize(request, context):
            yield message

    async def ComposeNote(self, request: content.ComposeNoteRequest, context: Any) -> Any:
        return content.ComposeNoteResponse(text=TEXT, model="offline", fallback_from=["gemini", "openai"])

    async def GenerateThought(self, request: content.GenerateThoughtRequest, context: Any) -> Any:
        await self._note("think")
        self.thoughts.append((request.topic, request.value, request.language, caller().user_id))
        return content.GenerateThoughtResponse(thought=THOUGHT, model="gemini")


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
async def stage(
    provider: Provider, mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setenv("PERFORM_MONGO_URL", mongo_url)
    monkeypatch.setenv("PERFORM_MONGO_DATABASE", f"perform-{uuid4().hex}")
    monkeypatch.setenv("PERFORM_BLOB_URL", (tmp_path / "blobs").as_uri())
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(played(provider))
        for peer in ("AUTH", "VOICE", "CONTENT", "SYNTHESIS"):
            monkeypatch.setenv(f"PERFORM_{peer}_ADDRESS", address)
        yield Stage(await stack.enter_async_context(performing()), provider)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def stub(stage: Stage) -> Any:
    return SpeechServiceStub(stage.channel)  # type: ignore[no-untyped-call]


async def spoken(stage: Stage) -> bytes:
    """By the speech route."""
    words = pb.CreateSpeechRequest(model="tts-1", input="Hello.", voice=struct_pb2.Value(string_value="me"))
    call = stub(stage).CreateSpeech(words, **stage.by())
    return b"".join([message.body.data async for message in call])


async def streamed(stage: Stage) -> bytes:
    call = stage.stub.StreamPerform(stream_order(), **stage.by())
    return b"".join([message.body.data async for message in call])


async def performed(stage: Stage) -> bytes:
    return (await stage.perform()).audio_base64


@pytest.mark.parametrize("way", [performed, streamed, spoken])
async def test_a_voice_that_is_gone_is_reported_leased_again_and_spoken_in(
    stage: Stage, provider: Provider, way: Any
) -> None:
    provider.lost = {"voice-1"}
    before = counted("perform_missing_voices_total")
    assert await way(stage) == AUDIO
    assert provider.reported == [(stage.user_id, "voice-1", 1)]
    assert [said.engine_voice_id for said in provider.spoken] == ["voice-2"]
    assert counted("perform_missing_voices_total") == before + 1
    await provider.until(lambda: not provider.reserved and not provider.leased)
    assert len(provider.charged) == 1


@pytest.mark.parametrize("way", [performed, streamed, spoken])
async def test_it_is_not_tried_a_third_time(stage: Stage, provider: Provider, way: Any) -> None:
    provider.lost = {"voice-1", "voice-2"}
    assert await refusal(way(stage)) == (409, "PROVIDER_VOICE_MISSING")
    assert len(provider.reported) == 1
    assert not (provider.charged or provider.reserved)
    await provider.until(lambda: not provider.leased)


async def test_what_the_second_lease_says_is_told(stage: Stage, provider: Provider) -> None:
    provider.lost = {"voice-1"}
    provider.fail["report"] = Full("Nothing is free.")
    assert await refusal(performed(stage)) == (503, "VOICE_SLOTS_EXHAUSTED")
    assert not (provider.charged or provider.reserved or provider.leased)


async def test_a_voice_lost_in_the_middle_of_a_sentence_is_not_replaced(
    stage: Stage, provider: Provider
) -> None:
    provider.lost, provider.lost_in_the_middle = {"voice-1"}, True
    assert [message async for message in stage.raw_stream(stream_order())][-1] == POISON
    assert await refusal(performed(stage)) == (409, "PROVIDER_VOICE_MISSING")
    assert not provider.reported
    assert not provider.charged


@pytest.mark.parametrize("way", [performed, streamed, spoken])
async def test_a_voice_whose_provider_is_away_is_spoken_by_the_overflow(
    stage: Stage, provider: Provider, way: Any
) -> None:
    provider.away = True
    before = counted("perform_overflowed_voices_total")
    assert await way(stage) == AUDIO
    assert [(said.engine, said.profile) for said in provider.spoken] == [("local", b"profile")]
    assert counted("perform_overflowed_voices_total") == before + 1
    await provider.until(lambda: not provider.reserved and not provider.leased)
    assert len(provider.charged) == 1
    assert not provider.reported


async def test_who_spoke_instead_is_told(stage: Stage, provider: Provider) -> None:
    provider.away = True
    assert (await stage.perform()).voice_source == "local_clone"


@pytest.mark.parametrize("without", ["overflow_refused", "overflow_unknown", "lost_in_the_middle"])
async def test_without_an_overflow_or_in_the_middle_of_a_sentence_its_absence_is_told(
    stage: Stage, provider: Provider, without: str
) -> None:
    provider.away = True
    setattr(provider, without, True)
    assert await refusal(performed(stage)) == (503, "SPEECH_ENGINE_UNAVAILABLE")
    assert not (provider.charged or provider.reserved or provider.leased)


async def test_who_wrote_a_note_and_who_could_not_is_counted(stage: Stage) -> None:
    labels = {"model": "offline", "fallback": "gemini,openai"}
    before = counted("perform_text_models_total", **labels)
    await stage.perform()
    assert counted("perform_text_models_total", **labels) == before + 1


def thought(**changes: str) -> pb.GenerateAudioRequest:
    return pb.GenerateAudioRequest(**{"topic": "cities", "value": "Lisbon", **changes})


async def test_a_memo_about_any_topic_is_written_spoken_kept_and_charged(
    stage: Stage, provider: Provider
) -> None:
    provider.settings.voice_language = "pt"
    done = await stub(stage).GenerateAudio(thought(), **stage.by())
    assert (done.text, done.audio_base64) == (THOUGHT, AUDIO)
    assert provider.thoughts == [("cities", "Lisbon", "pt", stage.user_id)]
    (kept,) = (await stage.recordings()).recordings
    assert (kept.routine_type, kept.text) == ("custom", THOUGHT)
    assert provider.charged == {kept.id: len(THOUGHT)}
    assert "cities" not in done.filename + kept.title
    request = perform.GetRecordingAudioRequest(filename=done.filename)
    assert (await stage.stub.GetRecordingAudio(request, **stage.by())).body.data == AUDIO


async def test_a_key_gives_the_same_memo_again_and_belongs_to_one_topic(
    stage: Stage, provider: Provider
) -> None:
    first = await stub(stage).GenerateAudio(thought(), **stage.by(idempotency_key="k"))
    assert await stub(stage).GenerateAudio(thought(), **stage.by(idempotency_key="k")) == first
    other = stub(stage).GenerateAudio(thought(topic="harbours"), **stage.by(idempotency_key="k"))
    assert await refusal(other) == (409, "IDEMPOTENCY_KEY_REUSED")
    memo = perform.PerformRequest(routine_type="custom", value="Lisbon")
    assert await refusal(stage.stub.Perform(memo, **stage.by(idempotency_key="k"))) == (
        409,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert len(provider.charged) == len(provider.thoughts) == 1


async def test_a_thought_that_cannot_be_had_costs_nothing(stage: Stage, provider: Provider) -> None:
    provider.fail["think"] = Full("Not now.")
    assert await refusal(stub(stage).GenerateAudio(thought(), **stage.by())) == (503, "VOICE_SLOTS_EXHAUSTED")
    assert not (provider.charged or provider.reserved or provider.leased)
    too_long = stub(stage).GenerateAudio(thought(value="v" * 201), **stage.by())
    assert await refusal(too_long) == (400, "INVALID_REQUEST")
