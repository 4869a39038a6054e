"""The synthesis service as its callers see it: real gRPC, real sockets, engines that do as they are told."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import numpy as np
import pytest
from prometheus_client import REGISTRY

from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from newvisions.synthesis.v1.synthesis_service_pb2_grpc import SynthesisServiceStub
from services.kernel.client import Channels
from services.kernel.server import Handlers
from services.kernel.settings import SettingUnusable
from services.synthesis.__main__ import open_service
from services.synthesis.ambience import Ambience
from services.synthesis.domain import EngineUnavailable, ProviderClosedToUs, Sound
from services.synthesis.engines.tone import SECONDS_PER_CHARACTER, ToneEngine, heard_hz, marker_hz
from services.synthesis.mixing import Mixing
from services.synthesis.seats import Seats
from services.synthesis.usecases import Desk
from tests.integration.synthesis_stage import (
    SECOND,
    ScriptedEngine,
    heard,
    mixing_for,
    opening,
    profile,
    refused,
    request,
    served,
    showroom_for,
    spoken,
    spoken_as_written,
)


@pytest.fixture(scope="module")
def ambience():
    return Ambience.made()


@pytest.fixture
async def engines():
    return {engine.name: engine for engine in [ToneEngine(), *scripted()]}


def scripted():
    never = asyncio.Event()
    return [
        ScriptedEngine("mute"),
        ScriptedEngine("plain", SECOND),
        ScriptedEngine("blank", b"", b""),
        ScriptedEngine("one_sample", b"\0\0"),
        ScriptedEngine("silence", bytes(len(SECOND)), bytes(len(SECOND))),
        ScriptedEngine("words_after_silence", bytes(len(SECOND)), SECOND[:960]),
        ScriptedEngine("hangs", SECOND, never),
        ScriptedEngine("silent_so_far", never),
        ScriptedEngine("breaks_at_once", EngineUnavailable("down")),
        ScriptedEngine("breaks_midway", SECOND, EngineUnavailable("down")),
        ScriptedEngine("unpaid", ProviderClosedToUs("The quota is spent.")),
        ScriptedEngine("crashes_midway", SECOND, RuntimeError("a bug")),
        ScriptedEngine("sips", SECOND[:960], never),
    ]


@pytest.fixture(scope="module")
async def mixing(ambience) -> AsyncIterator[Mixing]:
    async with mixing_for(ambience) as mixing:
        yield mixing


@pytest.fixture
async def speech(engines, mixing, ambience) -> AsyncIterator[SynthesisServiceStub]:
    with showroom_for(ambience) as showroom:
        async with served(engines, Desk(Seats(2), mixing), showroom) as stub:
            yield stub


async def test_a_memo_is_spoken_in_the_enrolled_voice(speech):
    voice = await profile(speech)
    mp3, summary, _ = await spoken(speech, profile=voice, title="Morning")
    samples, tags = heard(mp3)
    pcm = (samples[8820:-22050] * 32767).astype("<i2").tobytes()
    assert heard_hz(pcm, 44_100) == pytest.approx(marker_hz(voice), abs=2)
    assert summary.duration_seconds == pytest.approx(len(samples) / 44_100, abs=1e-9)
    assert tags["title"] == "Morning"
    assert tags["comment"].startswith("AI-generated")


async def test_only_the_last_message_has_a_summary(speech):
    _, summary, messages = await spoken(speech, profile=await profile(speech), text="word " * 40)
    assert len(messages) > 2
    assert [message.HasField("summary") for message in messages[:-1]] == [False] * (len(messages) - 1)
    assert len(summary.waveform) == 64
    assert max(summary.waveform) <= 100


async def test_no_background_and_volume_0_are_the_same_audio(speech):
    voice = await profile(speech)
    without, *_ = await spoken(speech, profile=voice)
    silent, *_ = await spoken(speech, profile=voice, background=pb.Background(volume_percent=0))
    fan, *_ = await spoken(speech, profile=voice, background=pb.Background(volume_percent=30))
    assert without == silent
    assert without != fan


TEXTS = ("I woke up thinking of the sea. ", "It is still here, ", "and so am I.")


async def test_a_text_in_pieces_is_one_memo_as_long_as_if_it_had_been_there_at_once(speech):
    voice, fan = await profile(speech), pb.Background(volume_percent=30)
    at_once, summary, _ = await spoken(speech, profile=voice, text="".join(TEXTS), background=fan)
    in_pieces, again, messages = await spoken_as_written(speech, *TEXTS, profile=voice, background=fan)
    assert (len(in_pieces), again.duration_seconds) == (len(at_once), summary.duration_seconds)
    # Nothing is missing where one piece ends and the next begins.
    samples, _ = heard(in_pieces)
    spoken_part = samples[8820:-22050]
    level = np.sqrt(np.square(spoken_part[: len(spoken_part) // 441 * 441].reshape(-1, 441)).mean(axis=1))
    assert level.min() > 0.5 * level.mean()
    assert messages[0].content_type == "audio/mpeg"
    assert [message.HasField("summary") for message in messages] == [False] * (len(messages) - 1) + [True]


async def test_the_beginning_is_heard_while_the_rest_is_still_being_written(speech):
    """All of it, but what is needed to judge how loud it is: nothing waits for the next piece."""
    voice, written = await profile(speech), asyncio.Event()
    first = "I thought of the sea."
    seconds = SECONDS_PER_CHARACTER * len(first) + 0.15 - 0.4

    async def slowly():
        yield opening(profile=voice, text=first)
        await written.wait()
        yield pb.SynthesizeAsWrittenRequest(text=" It is still here.")

    messages, audio = aiter(speech.SynthesizeAsWritten(slowly(), timeout=20)), b""
    async with asyncio.timeout(10):
        while not audio or len(heard(audio)[0]) / 44_100 < seconds - 0.16:
            audio += (await anext(messages)).audio
    written.set()
    *_, last = [message async for message in messages]
    assert last.HasField("summary")


async def test_an_engine_that_cannot_begin_early_is_given_the_whole_text(speech, engines):
    *_, messages = await spoken_as_written(speech, *TEXTS, engine="plain")
    [utterance] = engines["plain"].utterances
    assert utterance.text == "".join(TEXTS)
    assert messages[-1].HasField("summary")


async def test_a_writer_who_gives_up_stops_the_engine_and_frees_its_seat(speech, engines):
    async def forever():
        yield opening(engine="sips")
        await asyncio.Event().wait()

    for _ in range(3):
        call = speech.SynthesizeAsWritten(forever())
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert (await spoken(speech, profile=await profile(speech)))[1].duration_seconds


async def test_whoever_does_not_say_how_to_speak_is_refused(speech):
    async def no_opening():
        yield pb.SynthesizeAsWrittenRequest(text="Hello.")

    assert await refused(speech.SynthesizeAsWritten(no_opening()).read()) == ("INVALID_REQUEST", 400)


async def test_the_first_message_waits_only_for_the_first_drop_of_speech(speech, engines):
    call = speech.Synthesize(request(engine="sips"))
    first = await asyncio.wait_for(call.read(), 5)
    assert len(heard(first.audio)[0]) >= 1152
    call.cancel()
    await asyncio.wait_for(engines["sips"].closed.wait(), 5)


@pytest.mark.parametrize("engine", ["hangs", "silent_so_far"])
async def test_whoever_hangs_up_stops_the_engine_at_once(speech, engines, engine):
    call = speech.Synthesize(request(engine=engine))
    reading = asyncio.ensure_future(call.read())
    await asyncio.wait_for(engines[engine].speaking.wait(), 5)
    if engine == "hangs":
        await reading
    call.cancel()
    await asyncio.wait_for(engines[engine].closed.wait(), 1)
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [("breaks_midway", ("SPEECH_ENGINE_UNAVAILABLE", 503)), ("crashes_midway", ("INTERNAL", 500))],
)
async def test_an_engine_that_fails_midway_fails_the_memo(speech, engine, reason):
    call = speech.Synthesize(request(engine=engine))
    messages = []

    async def listen():
        async for message in call:
            messages.append(message)  # noqa: PERF401 - what came before the failure is wanted

    assert await refused(listen()) == reason
    assert messages
    assert not any(message.HasField("summary") for message in messages)


@pytest.mark.parametrize(
    ("engine", "outcome"),
    [
        ("plain", "whole"),
        ("breaks_midway", "SPEECH_ENGINE_UNAVAILABLE"),
        ("unpaid", "PROVIDER_CLOSED_TO_US"),
        ("crashes_midway", "INTERNAL"),
        ("mute", "SPEECH_FAILED"),
        ("hangs", "left"),
    ],
)
async def test_each_memo_is_counted_by_its_engine_and_its_outcome(speech, engines, engine, outcome):
    def counted() -> float:
        labels = {"engine": engine, "outcome": outcome}
        return REGISTRY.get_sample_value("synthesis_spoken_total", labels) or 0.0

    before = counted()
    reading = asyncio.ensure_future(spoken(speech, engine=engine))
    if engine == "hangs":
        await asyncio.wait_for(engines[engine].speaking.wait(), 5)
        reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    async with asyncio.timeout(5):
        while counted() == before:  # noqa: ASYNC110 - a metric sends no events
            await asyncio.sleep(0.01)
    assert counted() == before + 1


@pytest.mark.parametrize("engine", ["mute", "blank", "one_sample", "silence"])
async def test_an_engine_that_says_nothing_has_failed(speech, engine):
    assert await refused(spoken(speech, engine=engine)) == ("SPEECH_FAILED", 502)


async def test_a_short_word_after_a_long_silence_is_a_memo(speech):
    _, summary, _ = await spoken(speech, engine="words_after_silence")
    assert summary.duration_seconds > 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"engine": "breaks_at_once"}, ("SPEECH_ENGINE_UNAVAILABLE", 503)),
        ({"engine": "unpaid"}, ("SPEECH_ENGINE_UNAVAILABLE", 503)),
        ({"engine": "nobody"}, ("SPEECH_ENGINE_UNAVAILABLE", 503)),
        ({"model": "another"}, ("MODEL_NOT_FOUND", 404)),
        ({"profile": b"something else"}, ("VOICE_CLONE_REQUIRED", 409)),
        ({"text": ""}, ("INVALID_REQUEST", 400)),
        ({"background": pb.Background(volume_percent=101)}, ("INVALID_REQUEST", 400)),
    ],
)
async def test_what_cannot_be_spoken_is_refused_before_any_audio(speech, changes, reason):
    assert await refused(spoken(speech, **changes)) == reason


@pytest.mark.parametrize("asked", ["", "plain", "plain_v2"])
async def test_the_first_message_alone_says_which_model_speaks(speech, engines, asked):
    engines["plain"].model = "plain_v2"
    first, *others = [each.model async for each in speech.Synthesize(request(engine="plain", model=asked))]
    assert (first, set(others)) == ("plain_v2", {""})


async def test_an_engine_without_models_is_its_own(speech):
    assert (await speech.Synthesize(request(engine="plain")).read()).model == "plain"


async def test_a_language_that_the_engine_does_not_speak_is_refused(speech):
    voice = await profile(speech)
    assert await refused(spoken(speech, profile=voice, language="ja")) == ("LANGUAGE_NOT_SPOKEN", 400)


async def test_when_every_seat_is_taken_the_next_caller_is_told_to_come_back(speech, engines):
    calls = [speech.Synthesize(request(engine="hangs")) for _ in range(2)]
    for call in calls:
        await call.read()
    assert await refused(spoken(speech, engine="hangs")) == ("SPEECH_ENGINE_BUSY", 503)
    for call in calls:
        call.cancel()
    await asyncio.wait_for(engines["hangs"].closed.wait(), 5)


async def test_seats_are_free_again_after_hanging_up_and_after_failures(speech):
    voice = await profile(speech)
    for _ in range(3):
        call = speech.Synthesize(request(engine="hangs"))
        await call.read()
        call.cancel()
        await refused(spoken(speech, engine="breaks_midway"))
    assert (await spoken(speech, profile=voice))[1].duration_seconds > 1


async def test_memos_are_mixed_elsewhere_while_the_event_loop_answers_others(speech, mixing):
    voice = await profile(speech)
    async with asyncio.TaskGroup() as tasks:
        os.kill(mixing.pids[0], signal.SIGSTOP)
        memo = tasks.create_task(spoken(speech, profile=voice))
        for _ in range(5):
            assert (await speech.GetFanSound(pb.GetFanSoundRequest(), timeout=5)).body.data
        assert not memo.done()
        os.kill(mixing.pids[0], signal.SIGCONT)
    assert memo.result()[1].duration_seconds > 1


@pytest.mark.parametrize("size", [15_998, 16_001, 2 * 8000 * 71])
async def test_samples_of_a_wrong_length_are_refused(speech, size):
    enrolment = pb.EnrolVoiceRequest(engine="tone", pcm=bytes(size), sample_rate=8000)
    assert await refused(speech.EnrolVoice(enrolment)) == ("SAMPLE_UNUSABLE", 400)


async def test_each_sample_has_its_own_voice_and_always_the_same(speech):
    assert await profile(speech) == await profile(speech)
    assert await profile(speech) != await profile(speech, SECOND[::-1])


async def test_the_fan_is_served_to_everyone_as_mp3(speech, ambience):
    reply = await speech.GetFanSound(pb.GetFanSoundRequest())
    assert reply.body.content_type == "audio/mpeg"
    assert len(heard(reply.body.data)[0]) == len(ambience.loop(Sound.FAN))


async def test_the_service_opens_with_the_engines_it_is_told(monkeypatch):
    monkeypatch.setenv("SYNTHESIS_ENGINES", "services.synthesis.engines.tone:ToneEngine")
    handlers = Handlers()
    channels = Channels(handlers, frozenset({"synthesis"}))
    async with open_service(handlers, channels):
        stub = SynthesisServiceStub(channels.to("synthesis", ""))
        mp3, summary, _ = await spoken(stub, profile=await profile(stub))
    assert summary.duration_seconds > 1
    assert mp3.startswith(b"ID3")


@pytest.mark.parametrize(
    "import_string",
    ["no.such.module:Engine", "services.synthesis.engines.tone:Missing", "nonsense", ""],
)
async def test_an_unknown_engine_stops_the_start_with_one_line(monkeypatch, import_string):
    monkeypatch.setenv("SYNTHESIS_ENGINES", import_string)
    with pytest.raises(SettingUnusable, match="SYNTHESIS_ENGINES: ") as stopped:
        async with open_service(Handlers(), Channels({}, frozenset())):
            pass
    assert "\n" not in str(stopped.value)


async def test_a_watermark_is_in_every_memo_when_it_is_named_and_else_in_none(monkeypatch):
    monkeypatch.setenv("SYNTHESIS_ENGINES", "services.synthesis.engines.tone:ToneEngine")
    memos = []
    for watermark in ("", "services.synthesis.watermark:RippleWatermark", ""):
        monkeypatch.setenv("SYNTHESIS_WATERMARK", watermark)
        handlers = Handlers()
        channels = Channels(handlers, frozenset({"synthesis"}))
        async with open_service(handlers, channels):
            stub = SynthesisServiceStub(channels.to("synthesis", ""))
            memos.append((await spoken(stub, profile=await profile(stub)))[0])
    assert memos[0] == memos[2] != memos[1]


async def test_an_unknown_watermark_stops_the_start_with_one_line(monkeypatch):
    monkeypatch.setenv("SYNTHESIS_ENGINES", "services.synthesis.engines.tone:ToneEngine")
    monkeypatch.setenv("SYNTHESIS_WATERMARK", "services.synthesis.watermark:Missing")
    with pytest.raises(SettingUnusable, match="SYNTHESIS_WATERMARK: ") as stopped:
        async with open_service(Handlers(), Channels({}, frozenset())):
            pass
    assert "\n" not in str(stopped.value)
