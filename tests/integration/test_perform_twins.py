"""The same request again: one performance, one price, with a key and without."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from newvisions.perform.v1 import perform_service_pb2 as pb
from services.kernel.statuses import api_error
from tests.integration.perform_stage import (
    AUDIO,
    TEXT,
    Broken,
    Stage,
    furnish,
    heard,
    order,
    outcome,
    performing,
    refusal,
    staged,
    stream_order,
)


@pytest.fixture
async def stage(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    furnish(monkeypatch, mongo_url, tmp_path)
    async with staged(monkeypatch) as opened:
        yield opened


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


async def left_while_speaking(stage: Stage) -> None:
    """A caller without a key who goes away before the memo is made."""
    stage.peers.held.clear()
    call = asyncio.create_task(stage.perform())
    await stage.peers.until(lambda: "speak" in stage.peers.calls)
    call.cancel()
    await asyncio.wait([call])


async def test_without_a_key_who_lost_the_answer_gets_it_by_asking_again(stage: Stage) -> None:
    await left_while_speaking(stage)
    again = asyncio.create_task(stage.perform())
    stage.peers.held.set()
    assert (await again).audio_base64 == AUDIO
    assert stage.peers.calls.count("speak") == 1
    assert stage.peers.charged == {(await again).recording_id: len(TEXT)}


async def test_the_answer_nobody_got_is_found_in_another_process_and_given_once(stage: Stage) -> None:
    await left_while_speaking(stage)
    stage.peers.held.set()
    await stage.peers.until(lambda: bool(stage.peers.charged))
    [unheard] = stage.peers.charged
    async with performing() as elsewhere:
        replica = Stage(elsewhere, stage.peers, stage.user_id)
        assert (await replica.perform()).recording_id == unheard
        # Now somebody has it: who performs the same card again wants another memo.
        assert (await replica.perform()).recording_id != unheard
    assert stage.peers.calls.count("speak") == 2


async def test_a_caller_whose_time_is_up_is_told_that_it_goes_on(stage: Stage) -> None:
    stage.peers.held.clear()
    hasty = {**stage.by(), "timeout": 1.0}
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await stage.stub.Perform(order(), **hasty)
    error, _ = api_error(failure.value)
    assert error is not None
    assert (error.http_status, error.error) == (504, "DEADLINE_EXCEEDED")
    performance_id = str(dict(failure.value.trailing_metadata() or ())["performance-id"])
    assert (await stage.performance(performance_id)).state == "running"
    stage.peers.held.set()
    assert (await stage.perform()).recording_id == performance_id
    assert list(stage.peers.charged) == [performance_id]


async def test_who_got_the_answer_and_asks_again_gets_another_memo(stage: Stage) -> None:
    made = [(await stage.perform()).recording_id for _ in range(2)]
    for _ in range(2):
        call = stage.stub.StreamPerform(stream_order(), **stage.by())
        assert await heard(call) == AUDIO
        made.append(str(dict(await call.initial_metadata())["recording-id"]))
    assert len(set(made)) == 4
    assert set(stage.peers.charged) == set(made)


async def test_a_listener_who_left_after_the_last_sound_gets_it_by_asking_again(stage: Stage) -> None:
    stage.peers.fail["settle"] = Broken("Slow.")
    call = stage.stub.StreamPerform(stream_order(), **stage.by())
    messages = aiter(call)
    await anext(messages)
    # All of it is made by now, and nobody but us knows how much of it has arrived.
    await stage.peers.until(lambda: "settle" in stage.peers.calls)
    call.cancel()
    stage.peers.fail.clear()
    again = await stage.perform()
    assert again.recording_id == dict(await call.initial_metadata())["recording-id"]
    assert stage.peers.calls.count("speak") == 1


async def test_the_same_at_the_same_time_is_one_memo(stage: Stage) -> None:
    answers = await asyncio.gather(*(stage.perform() for _ in range(5)))
    assert len({answer.recording_id for answer in answers}) == 1
    assert stage.peers.charged == {answers[0].recording_id: len(TEXT)}


async def test_other_words_another_user_or_a_key_have_nothing_to_do_with_it(stage: Stage) -> None:
    await left_while_speaking(stage)
    stage.peers.held.set()
    await stage.peers.until(lambda: bool(stage.peers.charged))
    [unheard] = stage.peers.charged
    others = await asyncio.gather(
        stage.stub.Perform(order(value="king of clubs"), **stage.by()),
        stage.perform("somebody-else"),
        stage.perform(idempotency_key="mine"),
    )
    assert unheard not in {answer.recording_id for answer in others}
    assert (await stage.perform()).recording_id == unheard


async def test_a_failure_that_nobody_heard_is_no_answer(stage: Stage) -> None:
    await left_while_speaking(stage)
    stage.peers.fail["speak on"] = Broken("Too busy.")
    stage.peers.held.set()
    await stage.peers.until(lambda: "give back" in stage.peers.calls)
    stage.peers.fail.clear()
    async with asyncio.timeout(10):
        while (got := await outcome(stage.perform())) != TEXT:
            # Who came before the failure was written down waited for it.
            assert got == "SPEECH_ENGINE_BUSY"


async def test_a_minute_later_it_is_a_new_performance(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(monkeypatch, mongo_url, tmp_path, unheard_seconds=0.001)
    async with staged(monkeypatch) as stage:
        await left_while_speaking(stage)
        stage.peers.held.set()
        await stage.peers.until(lambda: bool(stage.peers.charged))
        [unheard] = stage.peers.charged
        await stage.ended(unheard)
        assert (await stage.perform()).recording_id != unheard


async def test_a_deleted_memo_is_no_answer(stage: Stage) -> None:
    await left_while_speaking(stage)
    stage.peers.held.set()
    await stage.peers.until(lambda: bool(stage.peers.charged))
    [unheard] = stage.peers.charged
    await stage.ended(unheard)
    await stage.stub.DeleteRecording(pb.DeleteRecordingRequest(recording_id=unheard), **stage.by())
    assert (await stage.perform()).recording_id != unheard
