"""Any interleaving of users, replicas that die, a provider that loses answers, and time: against a model.

A failure prints how to replay it. NEWVISIONS_POOL_EXAMPLES=500 tries many more, and others each time.
"""

import asyncio
import os
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import pytest
import stamina
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from dev.simulator.faults import Fault
from services.kernel.errors import ServiceError
from services.voice.domain import VoiceCloneRequired, VoiceStoreUnavailable
from services.voice.pool import OPERATOR
from services.voice.slots import SlotState
from tests.contract.voice_pool_house import (
    ADDS,
    ATTEMPT_LASTS,
    CONSENT,
    CYCLE_SECONDS,
    FEW_ADDS,
    LEASE_LASTS,
    PLACES,
    SLOTS,
    UNKNOWN,
    House,
    Killed,
    Life,
    Replica,
    Street,
    ours_of,
    profile_of,
    sample,
    street,
)
from tests.contract.voice_pool_model import (
    CHANGES,
    DEEDS,
    FAULTS,
    OPERATIONS,
    USERS,
    VARIANT,
    VARIANTS,
    Deed,
    Held,
    Model,
    aim,
)

pytestmark = pytest.mark.slow

T = TypeVar("T")

# Longer than anything may take that waits for nobody.
SECONDS: Final = 20.0

EXAMPLES: Final = int(os.environ.get("NEWVISIONS_POOL_EXAMPLES", "0"))
PROFILE: Final = settings(
    max_examples=EXAMPLES or 12,
    stateful_step_count=30,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


class PoolMachine(RuleBasedStateMachine):
    street: Street
    # What went wrong first, with its story: real servers need not do the same when it is tried again.
    failures: list[str]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.street.run(work)
        except Exception as error:
            self.failures.append(f"{error!r}\n{self.model.so_far()}")
            raise

    @initialize(
        variants=st.lists(VARIANT, min_size=len(USERS), max_size=len(USERS)),
        shared=st.booleans(),
        adds=st.sampled_from([ADDS, FEW_ADDS]),
        rename=st.booleans(),
    )
    def move_in(self, variants: list[int | None], shared: bool, adds: int, rename: bool) -> None:
        self.model = Model()
        self.house: House = self.run(self.street.house(shared=shared, adds=adds, rename=rename))
        self.foreign = SLOTS - PLACES if shared else 0
        comers = zip(USERS, variants, strict=True)
        deeds = [Deed("keep", user, 0, variant) for user, variant in comers if variant is not None]
        self.run(self._at_once(deeds))

    @rule(deeds=st.lists(DEEDS, min_size=2, max_size=6), patiently=st.booleans())
    def at_once(self, deeds: list[Deed], patiently: bool) -> None:
        self.run(self._at_once(deeds))
        if patiently and self.model.waiting:
            self._pass(ATTEMPT_LASTS.total_seconds() + 1)

    @rule(operation=OPERATIONS, faults=st.lists(FAULTS, min_size=1, max_size=3))
    def goes_wrong_next(self, operation: str, faults: list[Fault]) -> None:
        self.model.tell(f"{operation} will meet {faults}", self.house.now())
        self.run(self.house.simulator.ask_for(operation, *faults))

    @rule(which=st.integers(0, 5))
    def performance_ends(self, which: int) -> None:
        if self.model.held:
            held = self.model.held.pop(which % len(self.model.held))
            self.model.tell(f"{held.user_id} has performed in {held.lease.engine_voice_id}", self.house.now())
            replica = self.house.replicas[which % 2]
            self.run(replica.leasing.release(held.user_id, held.performance_id))

    @rule(number=st.integers(0, 1))
    def replica_is_replaced(self, number: int) -> None:
        self.model.tell(f"replica {number} is replaced", self.house.now())
        self.run(self.house.replace(number))
        # Whoever's attempt it was: it died with it.
        self.model.waiting |= set(USERS)

    @rule(which=st.integers(0, PLACES))
    def somebody_removes_a_voice_by_hand(self, which: int) -> None:
        there = sorted(self.run(self.house.ours()))
        if there:
            stolen = there[which % len(there)]
            self.model.stolen.add(stolen)
            self.model.tell(f"{stolen} is removed by hand", self.house.now())
            self.run(self.house.steal(stolen))

    @rule(number=st.integers(0, 1), dies_at=st.one_of(st.none(), st.integers(0, 30)))
    def reconciles(self, number: int, dies_at: int | None) -> None:
        self.run(self._reconciles(number, dies_at))

    @rule(seconds=st.sampled_from([5.0, 61.0, 61.0, 200.0, CYCLE_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        self.run(self.house.later(seconds))
        self.model.tell(f"{seconds} s have passed", self.house.now())
        if seconds > ATTEMPT_LASTS.total_seconds():
            self.model.waiting.clear()

    @invariant()
    def what_must_always_hold(self) -> None:
        self.run(self._holds())

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        try:
            self.run(self._everything_is_put_right())
        finally:
            self.run(self.house.close())

    async def _holds(self) -> None:
        audit = await self.house.simulator.audit()
        there = ours_of(audit)
        # Nobody takes more than there is, not even in hope: the provider never had to refuse.
        assert audit["most_voices_at_once"] <= PLACES + self.foreign
        assert not {"voice_limit_reached", "voice_add_edit_limit_reached"} & audit["refusals"].keys()
        assert audit["voices_now"] - len(there) == self.foreign
        # Who performs keeps the voice.
        now = self.house.now()
        self.model.held = [each for each in self.model.held if now < each.until]
        for each in self.model.held:
            named = each.lease.engine_voice_id
            if each.lease.voice_source == "provider_voice_id" and named not in self.model.stolen:
                assert there.get(named) == each.user_id, f"{each.user_id} speaks in {named}"

    async def _at_once(self, deeds: list[Deed]) -> None:
        """What each user may have afterwards is what any order of these deeds leaves."""
        before = {user: set(samples) for user, samples in self.model.samples.items()}
        possible = {user: set(samples) for user, samples in before.items()}
        changing = {deed.user_id for deed in deeds if deed.what in CHANGES}
        for deed in deeds:
            if deed.what in CHANGES:
                possible[deed.user_id].add(aim(deed))
        if any(deed.dies_at is not None for deed in deeds):
            # It may die while it changes other users' voices as well.
            self.model.waiting |= set(USERS)
        self.model.samples = possible
        outcomes = await asyncio.gather(*(self._done(deed) for deed in deeds))
        # Performances go on in what their user erased or replaced, or do not.
        self.model.held = [each for each in self.model.held if each.user_id not in changing]
        for user in USERS:
            changes = [
                (deed, outcome)
                for deed, outcome in zip(deeds, outcomes, strict=True)
                if deed.user_id == user and deed.what in CHANGES
            ]
            if len(changes) == 1:
                ((deed, outcome),) = changes
                possible[user] = {"ok": {aim(deed)}, "refused": before[user]}.get(outcome, possible[user])

    async def _done(self, deed: Deed) -> str:
        """ok, refused (and so without effect), or unknown."""
        replica = self.house.replicas[deed.replica]
        if deed.dies_at is not None:
            replica = Replica(self.house, Life(deed.dies_at, deed.after_effect))
        # A user whose replica died is waited for, though nobody comes.
        waits = deed.user_id in self.model.waiting and deed.what != "sweep"
        outcome, reason = "ok", ""
        self.model.tell(f"asked {deed}", self.house.now())
        patience = deed.patience if deed.patience is not None else 0.3 if waits else SECONDS
        try:
            async with asyncio.timeout(patience):
                await getattr(self, f"_{deed.what}")(replica, deed)
        except TimeoutError:
            voice = await self.house.voices.get(deed.user_id)
            assert patience < SECONDS, f"{deed} did not end: {voice}"
            outcome = "unknown"
        except Killed:
            outcome = "unknown"
        except VoiceStoreUnavailable:
            raise
        except ServiceError as error:
            outcome, reason = "refused", error.reason
        finally:
            if deed.dies_at is not None:
                # At the latest now.
                await replica.close()
        self.model.tell(f"{outcome} {reason} {deed}", self.house.now())
        return outcome

    async def _keep(self, replica: Replica, deed: Deed) -> None:
        spoken = sample(deed.user_id, deed.variant)
        outcome = await replica.keeping.keep(deed.user_id, spoken, CONSENT)
        assert outcome.sample.hash == spoken.hash

    async def _regain(self, replica: Replica, deed: Deed) -> None:
        await asyncio.shield(replica.keeping.regain(deed.user_id))

    async def _touch(self, replica: Replica, deed: Deed) -> None:
        touched = await replica.touching.touch(deed.user_id)
        if None not in self.model.samples[deed.user_id]:
            assert touched.status != "missing"

    async def _erase(self, replica: Replica, deed: Deed) -> None:
        await replica.keeping.erase(deed.user_id)

    async def _evict(self, replica: Replica, deed: Deed) -> None:
        await replica.pool.evict(deed.user_id, OPERATOR)

    async def _sweep(self, replica: Replica, deed: Deed) -> None:
        await replica.keeping.sweep()

    async def _perform(self, replica: Replica, deed: Deed) -> None:
        """A short one: it is over before anything else is asked for."""
        held = await self._lease(replica, deed)
        await asyncio.sleep(0.005)
        self.model.held = [each for each in self.model.held if each is not held]
        await replica.leasing.release(held.user_id, held.performance_id)

    async def _lease(self, replica: Replica, deed: Deed) -> Held:
        performance_id = str(uuid4())
        began = self.house.now()
        possible = self.model.samples[deed.user_id]
        try:
            lease = await replica.leasing.lease(deed.user_id, performance_id)
        except VoiceCloneRequired:
            assert None in possible, f"{deed.user_id} has a sample, and was told to upload one"
            raise
        except ServiceError as error:
            assert deed.user_id in self.model.waiting, f"{deed.user_id} could not perform: {error.reason}"
            raise
        assert lease.sample_hash in possible
        if lease.voice_source == "provider_voice_id":
            added = {
                each["voice_id"]: each["labels"]
                for each in (await self.house.simulator.audit())["effects"]
                if each["effect"] == "add"
            }
            assert added[lease.engine_voice_id]["newvisions_user"] == deed.user_id
        else:
            spoken = {
                profile_of(sample(deed.user_id, variant).pcm)
                for variant in range(VARIANTS)
                if sample(deed.user_id, variant).hash == lease.sample_hash
            }
            assert {lease.profile} == spoken
        self.model.tell(f"{deed.user_id} leased {lease.engine_voice_id}", self.house.now())
        held = Held(lease, deed.user_id, performance_id, began + LEASE_LASTS)
        self.model.held.append(held)
        return held

    async def _reconciles(self, number: int, dies_at: int | None) -> None:
        replica = self.house.replicas[number]
        if dies_at is not None:
            replica = Replica(self.house, Life(dies_at))
        try:
            with suppress(ServiceError, Killed):
                async with asyncio.timeout(SECONDS):
                    told = await replica.reconciling.reconcile()
                    self.model.tell(f"reconciled: {told}", self.house.now())
        finally:
            if dies_at is not None:
                await replica.close()

    async def _everything_is_put_right(self) -> None:
        """When nothing goes wrong any more and all that was begun has ended, one pass is enough."""
        await self.house.simulator.share_faults(0)
        for number in range(2):
            await self.house.replace(number)
        await self.house.later(
            (max(ATTEMPT_LASTS, UNKNOWN, LEASE_LASTS) + timedelta(minutes=1)).total_seconds()
        )
        replica = self.house.replicas[0]
        told = await replica.reconciling.reconcile()
        # A name whose add is not there is left as it is.
        assert told.pending == 0 or self.house.rename
        await self._agree()
        for user in USERS:
            await self._performs(replica, user)
        await self._agree()

    async def _agree(self) -> None:
        """Provider, documents and places say the same."""
        there = await self.house.ours()
        held = await self.house.voices.held_at("elevenlabs")
        assert {each.clone.engine_voice_id: each.user_id for each in held if each.clone} == there
        slots = (await self.house.slots.read()).slots
        assert {slot.engine_voice_id: slot.user_id for slot in slots} == there
        assert {slot.state for slot in slots} <= {SlotState.HELD}
        assert len(set(there.values())) == len(there)

    async def _performs(self, replica: Replica, user: str) -> None:
        possible = self.model.samples[user]
        try:
            lease = await replica.leasing.lease(user, str(uuid4()))
        except VoiceCloneRequired:
            assert None in possible
        else:
            assert lease.sample_hash in possible


@pytest.fixture(scope="module")
def machine(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    # Waits between two attempts are for the real provider.
    stamina.set_testing(True, attempts=3, cap=True)
    try:
        with street(mongo_url, valkey_url, Path(tmp_path_factory.mktemp("street"))) as built:
            yield type("Machine", (PoolMachine,), {"street": built, "failures": []})
    finally:
        stamina.set_testing(False)


def test_no_interleaving_loses_a_voice_or_takes_one_away(machine: Any) -> None:
    try:
        run_state_machine_as_test(machine, settings=PROFILE)
    except BaseException as error:
        error.add_note("\n".join(machine.failures[:1]))
        raise
