"""Formats, manners of speaking and backgrounds, as callers of the synthesis service get them."""

import asyncio
import threading

import numpy as np
import pytest

from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from services.synthesis.ambience import Ambience
from services.synthesis.domain import Delivery
from services.synthesis.engines.tone import ToneEngine, marker_hz
from services.synthesis.seats import Seats
from services.synthesis.usecases import Desk
from tests.integration.synthesis_stage import (
    SECOND,
    ScriptedEngine,
    heard,
    mixing_for,
    profile,
    refused,
    served,
    showroom_for,
    spoken,
)

CONTENT_TYPES = {
    "": "audio/mpeg",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@pytest.fixture(scope="module")
def ambience():
    return Ambience.made()


@pytest.fixture
async def listener():
    return ScriptedEngine("listener", SECOND)


@pytest.fixture
def showroom(ambience):
    with showroom_for(ambience) as showroom:
        yield showroom


@pytest.fixture(scope="module")
async def mixing(ambience):
    async with mixing_for(ambience) as mixing:
        yield mixing


@pytest.fixture
async def speech(listener, mixing, showroom):
    engines = {engine.name: engine for engine in (ToneEngine(), listener)}
    async with served(engines, Desk(Seats(2), mixing), showroom) as stub:
        yield stub


@pytest.mark.parametrize(("name", "content_type"), CONTENT_TYPES.items())
async def test_a_memo_comes_in_the_format_that_was_asked_for(speech, name, content_type):
    audio, summary, messages = await spoken(speech, profile=await profile(speech), format=name)
    assert [message.content_type for message in messages] == [content_type] + [""] * (len(messages) - 1)
    assert summary.duration_seconds > 1.8
    if name == "pcm":
        assert len(audio) / 2 / 24_000 == pytest.approx(summary.duration_seconds)
        return
    samples, tags = heard(audio)
    assert len(samples)
    assert tags["comment"] == "AI-generated voice, made with New Visions. Recording rec-1."


async def test_pcm_is_the_voice_itself(speech):
    voice = await profile(speech)
    audio, *_ = await spoken(speech, profile=voice, format="pcm", sample_rate=16_000)
    samples = np.frombuffer(audio, "<i2")[4000:20_000].astype(float)
    strongest = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax()
    assert strongest * 16_000 / len(samples) == pytest.approx(marker_hz(voice), abs=2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "opus", "sample_rate": 44_100}, "SAMPLE_RATE_NOT_OFFERED"),
        ({"format": "mp3", "sample_rate": 44_101}, "INVALID_REQUEST"),
        ({"format": "midi"}, "INVALID_REQUEST"),
        ({"background": pb.Background(sound="waterfall")}, "INVALID_REQUEST"),
        ({"delivery": pb.Delivery(speed=0.2)}, "INVALID_REQUEST"),
        ({"delivery": pb.Delivery(speed=4.1)}, "INVALID_REQUEST"),
        ({"delivery": pb.Delivery(style_percent=101)}, "INVALID_REQUEST"),
    ],
)
async def test_what_is_not_offered_is_refused_before_any_audio(speech, listener, changes, reason):
    assert await refused(spoken(speech, **{"engine": "listener"} | changes)) == (reason, 400)
    assert not listener.utterances


async def test_the_engine_is_told_how_to_speak(speech, listener):
    manner = pb.Delivery(stability_percent=10, similarity_percent=20, style_percent=30, speed=1.25)
    await spoken(speech, engine="listener", delivery=manner)
    await spoken(speech, engine="listener", delivery=pb.Delivery(stability_percent=10))
    await spoken(speech, engine="listener")
    assert [utterance.delivery for utterance in listener.utterances] == [
        Delivery(0.1, 0.2, 0.3, 1.25),
        Delivery(0.1, 0.0, 0.0, 1.0),
        Delivery(),
    ]


async def test_each_background_is_another_memo_and_off_is_none(speech):
    memos = {}
    for sound in ("", "fan", "room_tone", "street", "rain", "off"):
        for ducking in (False, True):
            background = pb.Background(sound=sound, volume_percent=30, ducking=ducking)
            memos[sound, ducking] = (await spoken(speech, engine="listener", background=background))[0]
    alone, *_ = await spoken(speech, engine="listener")
    assert memos["", False] == memos["fan", False]
    assert memos["off", False] == memos["off", True] == alone
    assert len(set(memos.values())) == 2 * 4 + 1


@pytest.mark.parametrize("sound", ["fan", "room_tone", "street", "rain"])
async def test_anybody_may_hear_a_background_at_any_volume(speech, sound):
    loud = await speech.GetAmbientSound(pb.GetAmbientSoundRequest(sound=sound))
    quiet = await speech.GetAmbientSound(pb.GetAmbientSoundRequest(sound=sound, volume=10))
    silent = await speech.GetAmbientSound(pb.GetAmbientSoundRequest(sound=sound, volume=0))
    assert loud.body.content_type == "audio/mpeg"
    levels = [np.abs(heard(reply.body.data)[0]).max() for reply in (loud, quiet, silent)]
    assert levels[0] > 5 * levels[1] > 0
    assert levels[2] == 0


async def test_the_fan_is_the_same_at_both_addresses(speech):
    old = await speech.GetFanSound(pb.GetFanSoundRequest())
    new = await speech.GetAmbientSound(pb.GetAmbientSoundRequest(sound="fan"))
    assert old.body.data == new.body.data


@pytest.mark.parametrize("name", ["off", "waterfall", ""])
async def test_a_background_that_is_none_is_not_found(speech, name):
    assert await refused(speech.GetAmbientSound(pb.GetAmbientSoundRequest(sound=name))) == (
        "SOUND_NOT_FOUND",
        404,
    )


async def test_settings_are_heard_before_they_are_saved(speech):
    async def preview(**fields):
        return (await speech.PreviewAmbience(pb.PreviewAmbienceRequest(**fields))).body

    usual = await preview(sound="street")
    assert usual.content_type == "audio/mpeg"
    assert usual.data == (await preview(sound="street", volume=30)).data
    assert usual.data != (await preview(sound="street", volume=30, ducking=True)).data
    assert (await preview(sound="street", volume=0)).data == (await preview(sound="off")).data
    assert 4 < len(heard(usual.data)[0]) / 44_100 < 7
    assert await refused(preview(sound="waterfall")) == ("SOUND_NOT_FOUND", 404)


async def test_visitors_wait_for_each_other_and_never_for_a_performer_s_seat(speech, showroom):
    let_go = threading.Event()
    blocked = asyncio.get_running_loop().run_in_executor(showroom.thread, let_go.wait, 20)
    waiting = speech.PreviewAmbience(pb.PreviewAmbienceRequest(sound="rain"))
    # The second visitor is refused as soon as the first sits, which nothing else shows.
    while showroom.seats.free:  # noqa: ASYNC110
        await asyncio.sleep(0)
    refusal = await refused(speech.PreviewAmbience(pb.PreviewAmbienceRequest(sound="fan")))
    assert refusal == ("SPEECH_ENGINE_BUSY", 503)
    assert (await spoken(speech, **{"engine": "listener"}))[1].duration_seconds > 1
    let_go.set()
    assert await blocked
    assert (await waiting).body.data
