"""Whatever goes wrong with adds and removals, and wherever a pass dies: one more pass puts it right."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
import stamina

from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.kernel.cache import cache_client
from services.kernel.database import database_client
from services.kernel.errors import ServiceError
from services.voice import mongo, valkey
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import ReconcileUnderWay
from services.voice.mongo_slots import MongoSlots
from services.voice.policy import Rules
from services.voice.providers.elevenlabs import open_elevenlabs
from services.voice.reconciling import ReconcileRules, Reconciliation, Reconciling
from services.voice.righting import Sides
from services.voice.slots import SlotState
from tests.contract.voice_pool_house import CONSENT, PLACES, House, Killed, Life, Mortal, Replica, sample
from tests.contract.voice_reconciling_stage import SPEECH, UNKNOWN, Stage, open_stage

pytestmark = pytest.mark.slow

FAULTS = [fault for fault in Fault if fault is not Fault.REFUSAL]


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Simulator]:
    async with running(Options(latency=0.0, hang_seconds=0.02)) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def pauses_between_attempts_take_no_time() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


@dataclass
class Town:
    """A house of the whole service, and its one replica."""

    house: House
    users: list[str] = field(default_factory=list)

    async def uploaded(self) -> None:
        """One more user, who takes a place of another when there is none left."""
        user_id = f"u-{uuid4()}"
        self.users.append(user_id)
        with suppress(ServiceError):
            await self.house.replicas[0].keeping.keep(user_id, sample(user_id, 1), CONSENT)

    async def agree(self) -> None:
        house = self.house
        there = await house.ours()
        held = await house.voices.held_at("elevenlabs")
        assert {voice.clone.engine_voice_id: voice.user_id for voice in held if voice.clone} == there
        slots = (await house.slots.read()).slots
        assert {slot.state for slot in slots} <= {SlotState.HELD}
        assert {slot.engine_voice_id: slot.user_id for slot in slots} == there


@pytest.fixture
async def town(server: Simulator, mongo_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    key_file = tmp_path / "elevenlabs"
    key_file.write_text("ours")
    await server.reset(slots=PLACES + 1, adds=100, requests_per_second=10_000, hang_seconds=0.02)
    rules = Rules(protect_seconds=0, cooldown_seconds=0)
    async with (
        database_client(mongo_url, connections=8, seconds=10) as client,
        cache_client(valkey_url.removesuffix("/0") + "/6", seconds=5) as cache,
        open_elevenlabs(server.url, key_file) as provider,
    ):
        await cache.flushdb()
        named = client[f"voice_{uuid4().hex[:12]}"]
        house = House(
            mongo.MongoVoices(named["voices"]),
            MongoSlots(named["pools"], provider.name),
            SealedBlobs(open_store("memory:///"), Keys([os.urandom(32)])),
            valkey.ValkeyPins(cache),
            valkey.ValkeyHabits(cache, rules),
            provider,
            server,
            rules,
            ceiling=PLACES,
        )
        await house.voices.prepare()
        await house.slots.prepare()
        house.replicas = [Replica(house)]
        yield Town(house)
        await house.close()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["add", "delete"])
async def test_one_pass_is_enough_after_any_fault(town: Town, operation: str, fault: Fault) -> None:
    for _ in range(PLACES):
        await town.uploaded()
    # Until everybody has given up; nor can it be asked what became of it.
    house, times = town.house, 1 if operation == "add" else 3
    await house.simulator.ask_for(operation, *[fault] * times)
    await house.simulator.ask_for("list", *[Fault.FAILED_BEFORE] * 3)
    await town.uploaded()
    await house.replace(0)
    with suppress(ServiceError):
        await house.provider.held()
    await house.later(UNKNOWN.total_seconds() + 60)
    assert (await house.replicas[0].reconciling.reconcile()).pending == 0
    await town.agree()
    for _ in range(PLACES):
        await town.uploaded()
    assert len(await house.ours()) == PLACES
    await town.agree()


@pytest.fixture
async def stage(server: Simulator, mongo_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    await server.reset(slots=10, adds=40, requests_per_second=10_000, hang_seconds=0.02)
    async with open_stage(mongo_url, valkey_url, server, tmp_path) as stage:
        yield stage


async def out_of_order(stage: Stage) -> None:
    """One adoption, one orphan, one missing voice, one removal."""
    await stage.added(await stage.claimed(await stage.sampled()))
    await stage.provider.clone(SPEECH, "u-nobody", "a-nothing")
    lost = await stage.holding()
    assert lost.clone is not None
    await stage.provider.discard(lost.clone.engine_voice_id)
    await stage.leaving(await stage.holding())
    stage.now += UNKNOWN


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operations", range(0, 44, 3))
async def test_a_pass_that_dies_anywhere_is_followed_by_one_that_does_not(
    stage: Stage, operations: int, after_effect: bool
) -> None:
    await out_of_order(stage)
    life = Life(operations, after_effect)
    sides = Sides(*(Mortal(port, life) for port in (stage.voices, stage.slots, stage.habits, stage.provider)))
    mortal = Reconciling(sides, ReconcileRules(UNKNOWN), lambda: stage.now)
    died = False
    try:
        await mortal.reconcile()
    except Killed:
        died = True
    # Only the last ones come to the end of the pass.
    assert died or operations > 30
    first = await tried(stage)
    assert died or first is not None
    if first is None:
        stage.now += UNKNOWN / 4
        first = await tried(stage)
    assert first is not None
    assert first.pending == 0
    assert len(await stage.agree()) == 1


async def tried(stage: Stage) -> Reconciliation | None:
    """None while the lease of who died has not run out."""
    try:
        return await stage.reconcile()
    except ReconcileUnderWay:
        return None
