"""More than the service can take on: who has a place is served, who has none is told at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY

from services.kernel.statuses import api_error
from tests.integration.perform_stage import TEXT, Stage, furnish, heard, outcome, staged, stream_order

PLACES = 3


@pytest.fixture
async def stage(mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Who finds no place does not wait for one."""
    furnish(monkeypatch, mongo_url, tmp_path, least_at_once=PLACES, most_at_once=PLACES, wait_seconds=0)
    async with staged(monkeypatch) as opened:
        yield opened


@pytest.fixture
async def patient_stage(
    mongo_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """As many may wait as there are places."""
    limits = {"least_at_once": PLACES, "most_at_once": PLACES, "late_seconds": 5, "wait_seconds": 5}
    furnish(monkeypatch, mongo_url, tmp_path, **limits)
    async with staged(monkeypatch) as opened:
        yield opened


async def full(stage: Stage) -> list[asyncio.Task[str]]:
    """Performances that wait for their speech, as many as there are places for."""
    stage.peers.held.clear()
    waiting = [
        asyncio.create_task(outcome(stage.perform(idempotency_key=str(number)))) for number in range(PLACES)
    ]
    await stage.peers.until(lambda: stage.peers.calls.count("speak") == PLACES)
    return waiting


async def test_ten_times_too_many_are_refused_before_anything_is_done_for_them(stage: Stage) -> None:
    waiting = await full(stage)
    before = len(stage.peers.calls)
    crowd = [outcome(stage.perform(f"user-{number}")) for number in range(10 * PLACES)]
    assert Counter(await asyncio.gather(*crowd)) == {"PERFORM_BUSY": 10 * PLACES}
    assert len(stage.peers.calls) == before
    stage.peers.held.set()
    assert await asyncio.gather(*waiting) == [TEXT] * PLACES
    assert len(stage.peers.charged) == PLACES


async def test_a_refusal_is_503_and_says_when_to_come_back(stage: Stage) -> None:
    waiting = await full(stage)
    for call in (
        stage.perform("crowd"),
        heard(stage.stub.StreamPerform(stream_order(), **stage.by("crowd"))),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call
        error, retry_after_seconds = api_error(failure.value)
        assert error is not None
        assert (error.http_status, error.error) == (503, "PERFORM_BUSY")
        assert retry_after_seconds > 0
    stage.peers.held.set()
    await asyncio.gather(*waiting)


async def test_a_place_is_free_again_however_its_performance_ended(stage: Stage) -> None:
    for _ in range(2):
        waiting = await full(stage)
        stage.peers.held.set()
        await asyncio.gather(*waiting)
    stage.peers.held.clear()
    listeners = [
        stage.stub.StreamPerform(stream_order(value=str(number)), **stage.by()) for number in range(PLACES)
    ]
    for listener in listeners:
        await listener.read()
        listener.cancel()
    for listener in listeners:
        heading: dict[str, Any] = dict(await listener.initial_metadata())
        await stage.ended(heading["recording-id"])
    stage.peers.fail["compose"] = RuntimeError("gone")
    for _ in range(PLACES):
        await outcome(stage.perform())
    stage.peers.fail.clear()
    stage.peers.held.set()
    everybody = await asyncio.gather(*(outcome(stage.perform(f"user-{n}")) for n in range(PLACES)))
    assert everybody == [TEXT] * PLACES


async def test_who_asks_again_gets_the_outcome_though_all_places_are_taken(stage: Stage) -> None:
    first = await stage.perform(idempotency_key="kept")
    waiting = await full(stage)
    assert await stage.perform(idempotency_key="kept") == first
    twin = asyncio.create_task(stage.perform(idempotency_key="0"))
    assert await outcome(stage.perform("somebody-else")) == "PERFORM_BUSY"
    stage.peers.held.set()
    assert (await twin).text == TEXT
    await asyncio.gather(*waiting)
    assert len(stage.peers.charged) == 1 + PLACES


async def test_a_rush_waits_for_its_places_and_nothing_is_done_for_it_until_then(
    patient_stage: Stage,
) -> None:
    stage = patient_stage
    inside = await full(stage)
    calls = len(stage.peers.calls)
    rush = [asyncio.create_task(outcome(stage.perform(f"user-{number}"))) for number in range(PLACES + 1)]
    # One more than may wait: when that one has been refused the others wait.
    refused, _ = await asyncio.wait(rush, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in refused] == ["PERFORM_BUSY"]
    assert len(stage.peers.calls) == calls
    stage.peers.held.set()
    assert await asyncio.gather(*inside) == [TEXT] * PLACES
    assert Counter(await asyncio.gather(*rush)) == {TEXT: PLACES, "PERFORM_BUSY": 1}
    assert len(stage.peers.charged) == 2 * PLACES


async def test_who_asks_again_while_a_rush_waits_is_given_the_outcome_at_once(patient_stage: Stage) -> None:
    stage = patient_stage
    first = await stage.perform(idempotency_key="kept")
    inside = await full(stage)
    waits = asyncio.create_task(outcome(stage.perform("waits")))
    assert await stage.perform(idempotency_key="kept") == first
    assert not waits.done()
    stage.peers.held.set()
    assert await waits == TEXT
    await asyncio.gather(*inside)


async def test_who_waits_and_leaves_leaves_nothing(patient_stage: Stage) -> None:
    stage = patient_stage
    inside = await full(stage)
    leaves = asyncio.create_task(outcome(stage.perform("leaves")))
    await waiting(1)
    leaves.cancel()
    await waiting(0)
    stage.peers.held.set()
    assert await asyncio.gather(*inside) == [TEXT] * PLACES
    assert len(stage.peers.charged) == PLACES
    assert await outcome(stage.perform("leaves")) == TEXT


async def test_who_asks_again_while_the_first_one_waits_is_no_second_one(patient_stage: Stage) -> None:
    stage = patient_stage
    inside = await full(stage)
    twins = [asyncio.create_task(stage.perform(idempotency_key="twin")) for _ in range(PLACES + 2)]
    await waiting(1)
    # More of them than may wait: none was refused, and there is room for others.
    others = [asyncio.create_task(outcome(stage.perform(f"user-{number}"))) for number in range(PLACES - 1)]
    await waiting(PLACES)
    stage.peers.held.set()
    first, *more = await asyncio.gather(*twins)
    assert more == [first] * (PLACES + 1)
    assert await asyncio.gather(*inside, *others) == [TEXT] * (2 * PLACES - 1)
    assert len(stage.peers.charged) == 2 * PLACES


async def waiting(count: int) -> None:
    """Until so many wait for a place."""
    async with asyncio.timeout(10):
        while True:
            if REGISTRY.get_sample_value("perform_places_waiting", {"for": "memos"}) == count:
                return
            await asyncio.sleep(0.01)
