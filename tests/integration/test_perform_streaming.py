"""A performance whose words are still being written while its first sentence is spoken."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from services.kernel.edge import POISON
from tests.integration.perform_stage import (
    AUDIO,
    FIRST,
    REST,
    TEXT,
    Broken,
    Refused,
    Stage,
    blobs,
    furnish,
    heard,
    refusal,
    staged,
    stream_order,
    told,
)

WHOLE = FIRST + REST


@pytest.fixture
async def stage(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Where it is known that the text model streams."""
    furnish(monkeypatch, mongo_url, tmp_path)
    async with staged(monkeypatch) as opened:
        opened.peers.streams = True
        await opened.perform()
        opened.peers.calls.clear()
        opened.peers.charged.clear()
        opened.peers.spoken.clear()
        yield opened


async def test_the_first_sentence_is_heard_while_the_second_is_still_being_written(stage: Stage) -> None:
    stage.peers.written.clear()
    call = stage.stub.StreamPerform(stream_order(), **stage.by())
    messages = aiter(call)
    assert (await anext(messages)).body.data
    assert stage.peers.texts == [FIRST]
    headers = dict(await call.initial_metadata())
    assert (unquote(headers["voice-note-text"]), headers["voice-note-text-whole"]) == (FIRST, "false")
    assert float(headers["expected-duration-seconds"]) > len(FIRST) / 14 + 1
    stage.peers.written.set()
    await heard(messages)
    assert stage.peers.texts == [FIRST, WHOLE]
    kept = max((await stage.recordings()).recordings, key=lambda each: each.created_at.ToNanoseconds())
    assert kept.text == WHOLE
    await stage.peers.until(lambda: not stage.peers.reserved and not stage.peers.leased)
    assert list(stage.peers.charged.values()) == [len(WHOLE)]


async def test_a_json_caller_gets_the_same_text(stage: Stage) -> None:
    done = await stage.perform()
    assert (done.text, done.chars_used_raw) == (WHOLE, len(WHOLE))
    assert "compose" not in stage.peers.calls


async def test_who_does_not_stream_any_more_is_asked_for_the_whole_note_again(stage: Stage) -> None:
    stage.peers.streams = False
    assert (await stage.perform()).text == WHOLE
    assert (await stage.perform()).text == TEXT
    assert stage.peers.calls.count("compose") == 1


async def test_the_words_and_the_voice_are_made_at_once_and_spoken_when_both_are_there(stage: Stage) -> None:
    stage.peers.recloned = asyncio.Event()
    performing = asyncio.create_task(stage.perform())
    await stage.peers.until(lambda: "write on" in stage.peers.calls)
    assert not {"recloned", "speak as written"} & set(stage.peers.calls)
    stage.peers.recloned.set()
    assert (await performing).text == WHOLE


async def test_a_stream_with_nothing_to_hear_goes_on_for_who_asks_again(stage: Stage) -> None:
    """Before the gateway takes it for dead: its caller would hear of no performance at all."""
    stage.peers.recloned = asyncio.Event()
    silent = stage.stub.StreamPerform(stream_order(), **{**stage.by(), "timeout": 1})
    performance_id = await told(heard(silent))
    assert (await stage.performance(performance_id)).state == "running"
    stage.peers.recloned.set()
    assert await heard(stage.stub.StreamPerform(stream_order(), **stage.by())) == AUDIO
    assert list(stage.peers.charged) == [performance_id]


async def test_a_text_that_breaks_off_cuts_the_stream_and_costs_nothing(stage: Stage, tmp_path: Path) -> None:
    stage.peers.fail["write on"] = Broken("Too busy.")
    stage.peers.written.clear()
    before = blobs(tmp_path)
    chunks = aiter(stage.raw_stream(stream_order()))
    assert await anext(chunks)
    stage.peers.written.set()
    *_, last = [chunk async for chunk in chunks]
    assert last == POISON
    assert {"give back", "release"} <= set(stage.peers.calls)
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged)
    assert blobs(tmp_path) == before


async def test_a_refusal_before_the_first_word_is_told(stage: Stage) -> None:
    stage.peers.fail["stream"] = Refused("No.")
    assert await refusal(stage.perform()) == (402, "CREDITS_EXHAUSTED")
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged)


@pytest.mark.parametrize(
    ("call", "instead", "text"), [("stream", "compose", TEXT), ("speak as written", "speak", WHOLE)]
)
async def test_a_peer_that_does_not_know_the_call_is_asked_as_before(
    stage: Stage, call: str, instead: str, text: str
) -> None:
    stage.peers.unknown.add(call)
    stage.peers.written.clear()
    performing = asyncio.create_task(stage.perform())
    await stage.peers.until(lambda: call in stage.peers.calls)
    stage.peers.written.set()
    assert (await performing).text == text
    assert {call, instead} <= set(stage.peers.calls)
    assert [request.text for request in stage.peers.spoken] == [text]


async def test_a_voice_that_is_gone_is_missed_before_anything_is_heard_and_the_text_begins_again(
    stage: Stage,
) -> None:
    stage.peers.missing = 1
    stage.peers.written.clear()
    performing = asyncio.create_task(stage.perform())
    await stage.peers.until(lambda: stage.peers.calls.count("speak as written") == 2)
    stage.peers.written.set()
    assert (await performing).text == WHOLE
    assert "missing" in stage.peers.calls
    assert stage.peers.texts == [FIRST, WHOLE]


async def test_a_listener_who_leaves_stops_the_writing_as_well(stage: Stage) -> None:
    stage.peers.written.clear()
    call = stage.stub.StreamPerform(stream_order(), **stage.by())
    await call.read()
    call.cancel()
    await stage.peers.until(lambda: {"writing cancelled", "give back", "release"} <= set(stage.peers.calls))
    assert not (stage.peers.reserved or stage.peers.leased or stage.peers.charged)


async def test_a_clone_that_fails_stops_the_writing(stage: Stage) -> None:
    stage.peers.written.clear()
    stage.peers.recloned = asyncio.Event()
    stage.peers.fail["recloned"] = Broken("Too busy.")
    performing = asyncio.ensure_future(stage.perform())
    await stage.peers.until(lambda: "stream" in stage.peers.calls)
    stage.peers.recloned.set()
    assert await refusal(performing) == (503, "SPEECH_ENGINE_BUSY")
    assert "writing cancelled" in stage.peers.calls
