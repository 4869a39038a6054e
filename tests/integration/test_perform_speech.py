"""Speech on a real socket: what is sent, what it costs, and what a key is worth."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from newvisions.perform.v1 import speech_service_pb2 as pb
from newvisions.perform.v1.speech_service_pb2_grpc import SpeechServiceStub
from newvisions.synthesis.v1 import synthesis_service_pb2 as synthesis
from newvisions.voice.v1 import voice_service_pb2 as voice
from services.kernel.edge import POISON
from services.kernel.errors import Kind, ServiceError
from services.perform.speech import CONTENT_TYPES, SpeechOrder, characters_made
from tests.integration.perform_stage import AUDIO, PIECES, Peers, Stage, performing, played, refusal

WORDS = "Nobody has written this down before, and nobody will keep it afterwards. " * 40
CLONE = "clone-of-mine"


class Refused(ServiceError):
    kind, reason = Kind.UNPAID, "CREDITS_EXHAUSTED"


class Away(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "SPEECH_ENGINE_BUSY"


class Speakers(Peers):
    """With a voice that has a name, and that may think before it speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.thought = asyncio.Event()
        self.thought.set()
        # The voice is not let go before.
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.endless = False
        # Then it waits, if it is held, and comes to its end.
        self.most: int | None = None
        self.sent = 0

    async def _speak_on_and_on(self) -> AsyncIterator[Any]:
        try:
            while True:
                yield synthesis.SynthesizeResponse(audio=bytes(64_000), model=self.model)
                self.sent += 1
                await self._note("sent")
                if self.sent == self.most:
                    await self.held.wait()
                    return
        finally:
            await self._note("speech cancelled")

    async def until_nobody_listens(self) -> None:
        """Nothing more is taken from the speaker."""
        while await self._goes_on(self.sent):
            pass

    async def _goes_on(self, before: int) -> bool:
        try:
            async with asyncio.timeout(0.3):
                await self.until(lambda: self.sent > before)
        except TimeoutError:
            return False
        return True

    async def Synthesize(self, request: synthesis.SynthesizeRequest, context: Any) -> AsyncIterator[Any]:
        await self._note("think")
        await self.thought.wait()
        if self.endless:
            async for message in self._speak_on_and_on():
                yield message
        async for message in super().Synthesize(request, context):
            yield message

    async def ReleaseVoice(self, request: voice.ReleaseVoiceRequest, context: Any) -> Any:
        await self.let_go.wait()
        return await super().ReleaseVoice(request, context)

    async def GetVoiceMeta(self, request: voice.GetVoiceMetaRequest, context: Any) -> Any:
        await self._note("meta")
        return voice.GetVoiceMetaResponse(has_sample=True, has_clone=True, voice_clone_id=CLONE)


@pytest.fixture
def speakers() -> Speakers:
    return Speakers()


@pytest.fixture
async def stage(
    speakers: Speakers, mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setenv("PERFORM_MONGO_URL", mongo_url)
    monkeypatch.setenv("PERFORM_MONGO_DATABASE", f"perform-{uuid4().hex}")
    monkeypatch.setenv("PERFORM_BLOB_URL", (tmp_path / "blobs").as_uri())
    monkeypatch.setenv("PERFORM_MOST_SPEECH_BYTES", str(1 << 20))
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(played(speakers))
        for peer in ("AUTH", "VOICE", "CONTENT", "SYNTHESIS"):
            monkeypatch.setenv(f"PERFORM_{peer}_ADDRESS", address)
        yield Stage(await stack.enter_async_context(performing()), speakers)


def asked(**changes: Any) -> pb.CreateSpeechRequest:
    wanted = {"model": "tts-1", "input": WORDS, "voice": struct_pb2.Value(string_value="me"), **changes}
    return pb.CreateSpeechRequest(**wanted)


def speech(stage: Stage, request: pb.CreateSpeechRequest | None = None, **headers: str) -> Any:
    stub: Any = SpeechServiceStub(stage.channel)  # type: ignore[no-untyped-call]
    return stub.CreateSpeech(request or asked(), **stage.by(**headers))


async def heard(call: Any) -> bytes:
    return b"".join([message.body.data async for message in call])


async def ended(stage: Stage) -> None:
    """Nothing is held any more."""
    await stage.peers.until(lambda: {"release"} <= set(stage.peers.calls) and not stage.peers.reserved)
    assert not stage.peers.leased


async def test_a_text_is_spoken_as_asked_paid_by_its_length_and_kept_nowhere(
    stage: Stage, tmp_path: Path
) -> None:
    stage.peers.settings.voice_language = "spanish"
    stage.peers.settings.background_sound = True
    call = speech(stage, asked(response_format="flac", speed=1.5, instructions="Cheerfully!"))
    assert await heard(call) == AUDIO
    assert dict(await call.initial_metadata())["voice-source"] == "local_clone"
    await ended(stage)
    (said,) = stage.peers.spoken
    assert (said.text, said.language, said.format, said.delivery.speed) == (WORDS, "es", "flac", 1.5)
    assert (said.delivery.stability_percent, said.delivery.similarity_percent) == (50, 75)
    assert not said.HasField("background")
    assert list(stage.peers.charged.values()) == [len(WORDS)]
    assert list(stage.peers.priced.values()) == ["quick"]
    assert "compose" not in stage.peers.calls
    assert not list((tmp_path / "blobs").rglob("*.mp3"))
    assert not (await stage.recordings()).recordings


@pytest.mark.parametrize(("name", "kind"), [("", "audio/mpeg"), *CONTENT_TYPES.items()])
async def test_each_format_says_what_it_is(stage: Stage, name: str, kind: str) -> None:
    kinds = {message.body.content_type async for message in speech(stage, asked(response_format=name))}
    assert kinds == {kind}


async def test_events_carry_the_same_audio_and_at_the_end_what_was_charged(stage: Stage) -> None:
    messages = [message.body async for message in speech(stage, asked(stream_format="sse"))]
    assert {message.content_type for message in messages} == {"text/event-stream"}
    assert len(messages) == len(PIECES) + 1
    lines = b"".join(message.data for message in messages).decode().split("\n\n")
    assert lines.pop() == ""
    *deltas, done = (json.loads(line.removeprefix("data: ")) for line in lines)
    assert {each["type"] for each in deltas} == {"speech.audio.delta"}
    assert b"".join(b64decode(each["audio"]) for each in deltas) == AUDIO
    usage = {"input_tokens": len(WORDS), "output_tokens": 0, "total_tokens": len(WORDS)}
    assert done == {"type": "speech.audio.done", "usage": usage}


@pytest.mark.parametrize(
    "named",
    [
        struct_pb2.Value(string_value=CLONE),
        struct_pb2.Value(struct_value=struct_pb2.Struct(fields={"id": struct_pb2.Value(string_value=CLONE)})),
    ],
)
async def test_a_voice_has_a_name_too(stage: Stage, named: struct_pb2.Value) -> None:
    assert await heard(speech(stage, asked(voice=named))) == AUDIO


@pytest.mark.parametrize(
    "named",
    [
        struct_pb2.Value(string_value="alloy"),
        struct_pb2.Value(string_value=""),
        struct_pb2.Value(number_value=7),
        struct_pb2.Value(struct_value=struct_pb2.Struct()),
    ],
)
async def test_nobody_speaks_in_another_voice(stage: Stage, named: struct_pb2.Value) -> None:
    assert await refusal(heard(speech(stage, asked(voice=named)))) == (404, "VOICE_NOT_FOUND")
    assert not {"reserve", "lease", "speak"} & set(stage.peers.calls)


@pytest.mark.parametrize("model", ["tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"])
async def test_other_makers_names_mean_whatever_speaks_in_the_voice(stage: Stage, model: str) -> None:
    assert await heard(speech(stage, asked(model=model))) == AUDIO
    assert (stage.peers.spoken[0].engine, stage.peers.spoken[0].model) == ("tone", "")


class Unknown(ServiceError):
    kind, reason = Kind.NOT_FOUND, "MODEL_NOT_FOUND"


@pytest.mark.parametrize(("model", "priced"), [("tts-1", ""), ("eleven_flash_v2_5", "eleven_flash_v2_5")])
async def test_credits_are_set_aside_for_the_model_that_is_named(
    stage: Stage, model: str, priced: str
) -> None:
    assert await heard(speech(stage, asked(model=model))) == AUDIO
    assert list(stage.peers.asked_for.values()) == [priced]


async def test_any_other_model_is_for_the_speech_service_to_know(stage: Stage) -> None:
    assert await heard(speech(stage, asked(model="quick"))) == AUDIO
    assert stage.peers.spoken[0].model == "quick"
    stage.peers.fail["speak"] = Unknown("There is none.")
    assert await refusal(heard(speech(stage, asked(model="slow")))) == (404, "MODEL_NOT_FOUND")
    await stage.peers.until(lambda: not (stage.peers.reserved or stage.peers.leased))
    assert len(stage.peers.charged) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"input": ""},
        {"input": " \n"},
        {"input": "x" * 4097},
        {"model": ""},
        {"voice": None},
        {"response_format": "ogg"},
        {"speed": 0.2},
        {"speed": 4.1},
        {"stream_format": "ndjson"},
    ],
)
async def test_what_breaks_a_rule_costs_nothing(stage: Stage, changes: dict[str, Any]) -> None:
    assert await refusal(heard(speech(stage, asked(**changes)))) == (400, "INVALID_REQUEST")
    assert not stage.peers.calls


@pytest.mark.parametrize("step", ["reserve", "lease", "speak"])
async def test_a_failure_before_the_first_audio_is_told_and_costs_nothing(stage: Stage, step: str) -> None:
    stage.peers.fail[step] = Refused("No credits are left.")
    assert await refusal(heard(speech(stage, idempotency_key="k"))) == (402, "CREDITS_EXHAUSTED")
    assert "give back" in stage.peers.calls
    await ended(stage)
    assert not stage.peers.charged
    stage.peers.fail.clear()
    assert await heard(speech(stage, idempotency_key="k")) == AUDIO


async def test_a_stream_that_fails_later_is_cut_and_costs_nothing(stage: Stage) -> None:
    stage.peers.fail["speak on"] = Away("Too busy.")
    assert await cut(stage)
    stage.peers.fail.clear()
    stage.peers.whole = False
    assert await cut(stage)
    await ended(stage)
    assert not stage.peers.charged


async def cut(stage: Stage, **headers: str) -> bool:
    """Whether the stream ends with what no client takes for an end."""
    method = "/newvisions.perform.v1.SpeechService/CreateSpeech"
    call = stage.channel.unary_stream(method, request_serializer=pb.CreateSpeechRequest.SerializeToString)
    messages: list[bytes] = [message async for message in call(asked(), **stage.by(**headers))]
    return messages[-1] == POISON


async def test_a_listener_who_leaves_stops_the_engine_at_once_and_pays_for_what_was_made(
    stage: Stage,
) -> None:
    stage.peers.held.clear()
    call = speech(stage)
    await call.read()
    left = perf_counter()
    call.cancel()
    await stage.peers.until(lambda: "speech cancelled" in stage.peers.calls)
    assert perf_counter() - left < 0.1
    await ended(stage)
    (paid,) = stage.peers.charged.values()
    assert list(stage.peers.priced.values()) == ["quick"]
    # The first piece is 1.9 seconds of the usual format.
    assert 0 < paid < len(WORDS) / 10
    assert paid == int(len(PIECES[0]) / 16_000 * 9)


async def test_a_listener_who_leaves_before_the_first_audio_pays_nothing(
    stage: Stage, speakers: Speakers
) -> None:
    speakers.thought.clear()
    call = speech(stage)
    await speakers.until(lambda: "think" in speakers.calls)
    call.cancel()
    await ended(stage)
    assert not speakers.charged


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A speech may be waited for two seconds."""
    monkeypatch.setenv("PERFORM_SPEECH_SECONDS", "2")


@pytest.mark.usefixtures("hurried")
async def test_a_speech_that_is_waited_for_too_long_costs_nothing_whatever_it_was_that_took_the_time(
    stage: Stage,
) -> None:
    stage.peers.held.clear()
    async with asyncio.timeout(15):
        assert await cut(stage)
    stage.peers.recloned = asyncio.Event()
    async with asyncio.timeout(15):
        assert await refusal(heard(speech(stage))) == (504, "DEADLINE_EXCEEDED")
    await ended(stage)
    assert not stage.peers.charged


@pytest.mark.usefixtures("hurried")
async def test_a_listener_who_takes_all_the_time_pays_for_what_was_made(
    stage: Stage, speakers: Speakers
) -> None:
    speakers.endless = True
    stub: Any = SpeechServiceStub(stage.channel)  # type: ignore[no-untyped-call]
    call = stub.CreateSpeech(asked(), **{**stage.by(), "timeout": 4})
    await call.read()
    # Nothing is read any more for as long as the speaker waits, and then all that was made.
    await speakers.until(lambda: "speech cancelled" in speakers.calls)
    with suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    await ended(stage)
    assert len(speakers.charged) == 1


async def test_a_listener_who_does_not_read_is_not_spoken_to_and_may_leave_all_the_same(
    stage: Stage, speakers: Speakers
) -> None:
    speakers.endless = True
    call = speech(stage)
    await call.read()
    await speakers.until_nobody_listens()
    left = perf_counter()
    call.cancel()
    await speakers.until(lambda: "speech cancelled" in speakers.calls)
    assert perf_counter() - left < 0.1
    await ended(stage)
    assert len(speakers.charged) == 1


async def test_a_voice_that_is_not_let_go_delays_no_end(stage: Stage, speakers: Speakers) -> None:
    speakers.let_go.clear()
    # Less than PERFORM_VOICE_SECONDS.
    async with asyncio.timeout(2):
        assert await heard(speech(stage)) == AUDIO
    assert speakers.leased
    speakers.let_go.set()
    await ended(stage)


async def test_a_charge_that_could_not_be_made_is_made_later(stage: Stage) -> None:
    stage.peers.fail["settle"] = Away("Away.")
    assert await cut(stage)
    tries = stage.peers.calls.count("settle")
    stage.peers.fail.clear()
    await stage.peers.until(lambda: stage.peers.calls.count("settle") > tries)
    await ended(stage)
    assert list(stage.peers.charged.values()) == [len(WORDS)]


async def test_under_a_key_it_is_spoken_and_charged_once_and_given_again(stage: Stage) -> None:
    assert await heard(speech(stage, idempotency_key="k")) == AUDIO
    again = speech(stage, idempotency_key="k")
    assert await heard(again) == AUDIO
    assert dict(await again.initial_metadata())["voice-source"] == "local_clone"
    other = asked(input="Something else.")
    assert await refusal(heard(speech(stage, other, idempotency_key="k"))) == (409, "IDEMPOTENCY_KEY_REUSED")
    await ended(stage)
    assert list(stage.peers.charged.values()) == [len(WORDS)]
    assert stage.peers.calls.count("speak") == 1
    stage.user_id = "somebody-else"
    assert await heard(speech(stage, idempotency_key="k")) == AUDIO
    assert len(stage.peers.charged) == 2


async def test_events_are_given_again_with_what_was_charged_the_first_time(stage: Stage) -> None:
    calls = [speech(stage, asked(stream_format="sse"), idempotency_key="e") for _ in range(2)]
    first, again = [await heard(call) for call in calls]
    done = [answer.splitlines()[-2] for answer in (first, again)]
    assert done[0] == done[1]
    assert json.loads(done[1].removeprefix(b"data: "))["usage"]["total_tokens"] == len(WORDS)


async def test_twins_hear_the_same_speech_while_it_is_made(stage: Stage) -> None:
    stage.peers.held.clear()
    # Who comes too late to listen to its making reads it, and there is memory for three who do.
    calls = [asyncio.create_task(heard(speech(stage, idempotency_key="twin"))) for _ in range(4)]
    await stage.peers.until(lambda: "speak" in stage.peers.calls)
    other = asked(input="Something else.")
    assert await refusal(heard(speech(stage, other, idempotency_key="twin"))) == (
        409,
        "IDEMPOTENCY_KEY_REUSED",
    )
    stage.peers.held.set()
    assert await asyncio.gather(*calls) == [AUDIO] * 4
    assert stage.peers.calls.count("speak") == 1
    assert len(stage.peers.charged) == 1


async def test_who_leaves_finds_the_whole_speech_under_its_key(stage: Stage) -> None:
    stage.peers.held.clear()
    left = speech(stage, idempotency_key="k")
    await stage.peers.until(lambda: "speak" in stage.peers.calls)
    left.cancel()
    stage.peers.held.set()
    assert await heard(speech(stage, idempotency_key="k")) == AUDIO
    await ended(stage)
    assert list(stage.peers.charged.values()) == [len(WORDS)]


async def test_a_speech_that_came_to_nothing_gives_its_key_back(stage: Stage) -> None:
    stage.peers.fail["speak"] = Away("The engine is busy.")
    assert await refusal(heard(speech(stage, idempotency_key="k"))) == (503, "SPEECH_ENGINE_BUSY")
    await ended(stage)
    stage.peers.fail.clear()
    assert await heard(speech(stage, asked(input="Something else."), idempotency_key="k")) == AUDIO
    assert list(stage.peers.charged.values()) == [len("Something else.")]


async def test_speech_that_there_is_no_memory_for_is_cut_costs_nothing_and_is_held_no_longer(
    stage: Stage, speakers: Speakers
) -> None:
    speakers.endless = True
    for _ in range(2):
        assert await cut(stage, idempotency_key="k")
    await ended(stage)
    assert not stage.peers.charged
    speakers.endless = False
    assert await heard(speech(stage, idempotency_key="k")) == AUDIO


async def test_one_more_is_refused_while_half_of_the_memory_is_held(stage: Stage, speakers: Speakers) -> None:
    speakers.endless, speakers.most = True, 12
    speakers.held.clear()
    first, received = speech(stage, idempotency_key="first"), 0
    while received < 12 * 64_000:
        received += len((await first.read()).body.data)
    assert await refusal(heard(speech(stage, idempotency_key="second"))) == (503, "PERFORM_BUSY")
    speakers.held.set()
    while await first.read() is not grpc.aio.EOF:
        pass
    await ended(stage)


async def test_what_cannot_be_kept_is_not_charged(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "recordings").write_text("a file where a folder should be")
    assert await cut(stage, idempotency_key="k")
    await ended(stage)
    assert not stage.peers.charged


@given(
    text=st.text(min_size=1, max_size=4096),
    audio_bytes=st.integers(0, 50_000_000),
    speed=st.floats(0.25, 4),
    audio_format=st.sampled_from(sorted(CONTENT_TYPES)),
    language=st.sampled_from(["en", "ja-JP", "de"]),
)
def test_what_is_charged_never_exceeds_the_text_and_grows_with_the_audio(
    text: str, audio_bytes: int, speed: float, audio_format: str, language: str
) -> None:
    order = SpeechOrder("tts-1", text, "me", audio_format, speed, as_events=False)
    made = characters_made(order, language, audio_bytes)
    assert 0 <= made <= len(text)
    assert made <= characters_made(order, language, audio_bytes + 48_000)
    assert characters_made(order, language, 0) == 0
