"""Voices at a provider with few places, made and replaced by several replicas at once on real stores."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.plans import PLANS
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.clones import Clones, Pooled
from services.voice.composition import Stores, open_pooled, open_stores
from services.voice.domain import Voice, VoiceChangedMeanwhile, VoiceNotFound, VoiceSlotsExhausted
from services.voice.keeping import Keeping, KeepingRules, Overflow, Surroundings
from services.voice.mongo import MongoVoices
from services.voice.pool import Eviction
from services.voice.ports import CloneOutcomeUnknown, Provider
from services.voice.providers.local import LocalProvider
from services.voice.settings import Settings
from services.voice.slots import SlotState
from tests.contract.voice_keeping_house import CONSENT, Rereading, sample

pytestmark = pytest.mark.slow


class Enrolment:
    async def enrol(self, engine: str, pcm: bytes, sample_rate: int) -> bytes:
        return b"profile of " + pcm


@dataclass
class Replica:
    keeping: Keeping
    stores: Stores
    pooled: Pooled


@dataclass
class Street:
    replicas: list[Replica]
    simulator: Simulator
    blobs: SealedBlobs
    # How far ahead the replicas' clock is.
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    @property
    def keeping(self) -> Keeping:
        return self.replicas[0].keeping

    async def states(self) -> list[str]:
        ledger = await self.replicas[0].pooled.pool._slots.read()
        return sorted(slot.state for slot in ledger.slots)

    async def adding(self) -> None:
        """An add has reached the provider."""
        async with asyncio.timeout(10):
            while not (await self.simulator.audit())["requests"].get("add"):
                pass

    async def voices(self) -> list[str]:
        """The users of the voices at the provider."""
        audit = await self.simulator.audit()
        return sorted(voice["labels"]["newvisions_user"] for voice in audit["voices"])


async def replica_of(
    stack: AsyncExitStack, street: Street, settings: Settings, overflow: Overflow
) -> Replica:
    stores = await stack.enter_async_context(open_stores(settings))
    pooled = await stack.enter_async_context(open_pooled(settings, stores))
    assert pooled is not None
    local = LocalProvider(Enrolment(), "tone")
    providers: dict[str, Provider] = {pooled.provider.name: pooled.provider, local.name: local}
    around = Surroundings(
        stores.voices, street.blobs, Rereading(), providers, stores.works, street.now, pooled.pool
    )
    stack.push_async_callback(stores.works.close, 5)
    return Replica(
        Keeping(around, KeepingRules(timedelta(minutes=1), overflow=overflow, prefetches=1)), stores, pooled
    )


@pytest.fixture
async def streets(
    mongo_url: str, valkey_url: str, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Street]]]:
    key = tmp_path / "key"
    key.write_text("a key")
    async with AsyncExitStack() as stack:

        async def opened(
            places: int = 2, adds: int = 20, overflow: Overflow = Overflow.REFUSE, *, rename: bool = False
        ) -> Street:
            plan = replace(PLANS["creator"], slots=places, adds=adds)
            simulator = await stack.enter_async_context(running(Options(plan=plan, latency=0)))
            settings = Settings(
                mongo_url=mongo_url,  # type: ignore[arg-type]
                mongo_database=f"voice_{uuid4().hex[:12]}",
                valkey_url=valkey_url.rsplit("/", 1)[0] + "/9",  # type: ignore[arg-type]
                blob_url=tmp_path.as_uri(),
                key_file=key,
                provider="elevenlabs",
                policy="lru",
                elevenlabs_api_key_file=key,
                elevenlabs_base_url=simulator.url,  # type: ignore[arg-type]
                elevenlabs_seconds=1,
                elevenlabs_clone_seconds=1,
                elevenlabs_rename=rename,
            )
            street = Street([], simulator, SealedBlobs(open_store("memory:///"), Keys([bytes(32)])))
            street.replicas = [await replica_of(stack, street, settings, overflow) for _ in range(3)]
            return street

        yield opened


async def test_twenty_first_uploads_on_three_replicas_make_one_voice(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    outcomes = await asyncio.gather(
        *(street.replicas[number % 3].keeping.keep(user, sample("first"), CONSENT) for number in range(20))
    )
    assert sorted(outcome.action for outcome in outcomes) == ["created", *["unchanged"] * 19]
    assert len({outcome.clone.clone_id for outcome in outcomes}) == 1
    assert (await street.simulator.audit())["adds"] == 1
    assert await street.states() == [SlotState.HELD]


async def test_different_samples_at_once_leave_one_of_them(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    outcomes = await asyncio.gather(
        *(
            street.replicas[number % 3].keeping.keep(user, sample(f"no {number}"), CONSENT)
            for number in range(6)
        )
    )
    assert sorted(outcome.action for outcome in outcomes) == ["created", *["updated"] * 5]
    assert await street.voices() == [user]
    assert (await street.simulator.audit())["most_voices_at_once"] <= 2
    voice = await street.replicas[0].stores.voices.get(user)
    assert voice.clone is not None
    assert voice.leftovers == ()
    assert await street.states() == [SlotState.HELD]


async def test_an_erasure_during_an_add_leaves_no_voice(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    await street.simulator.reset(latency=0.1)
    upload = asyncio.create_task(street.keeping.keep(user, sample("first"), CONSENT))
    await street.adding()
    await street.replicas[1].keeping.erase(user)
    with pytest.raises(VoiceChangedMeanwhile):
        await upload
    assert await street.voices() == []
    assert await street.states() == []


async def test_an_add_that_was_begun_is_used_though_its_caller_hung_up(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    await street.simulator.reset(latency=0.1)
    upload = asyncio.create_task(street.keeping.keep(user, sample("first"), CONSENT))
    await street.adding()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert (await street.replicas[1].keeping.keep(user, sample("first"), CONSENT)).action == "unchanged"
    assert (await street.simulator.audit())["adds"] == 1
    async with asyncio.timeout(10):
        while await street.states() != [SlotState.HELD]:
            pass


async def test_an_add_that_is_cut_off_keeps_its_place_until_it_is_known(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    await street.simulator.reset(latency=0.1)
    upload = asyncio.create_task(street.keeping.keep(user, sample("first"), CONSENT))
    await street.adding()
    await street.replicas[0].stores.works.close(0)
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await street.states() == [SlotState.ADDING]
    assert (await street.replicas[1].stores.voices.get(user)).attempt is None


async def test_a_refused_change_leaves_the_voice_as_it_was(streets) -> None:
    street, user = await streets(places=1, adds=1), f"u-{uuid4()}"
    made = await street.keeping.keep(user, sample("first"), CONSENT)
    with pytest.raises(VoiceSlotsExhausted):
        await street.keeping.keep(user, sample("second"), CONSENT)
    unchanged = await street.keeping.keep(user, sample("first"), CONSENT)
    assert (unchanged.action, unchanged.clone.clone_id) == ("unchanged", made.clone.clone_id)
    assert await street.voices() == [user]


@pytest.mark.parametrize(("adds", "named"), [(4, 2), (3, 1)])
@pytest.mark.parametrize("answers", [[], [Fault.FAILED_AFTER]], ids=["answered", "answer lost"])
async def test_an_add_that_a_name_costs_is_promised_to_nobody_else(
    streets, adds: int, named: int, answers: list[Fault]
) -> None:
    street = await streets(places=9, adds=adds, overflow=Overflow.LOCAL, rename=True)
    await street.simulator.ask_for("edit", *answers)
    made_at_provider = []
    for replica in street.replicas:
        outcome = await replica.keeping.keep(f"u-{uuid4()}", sample("first"), CONSENT)
        made_at_provider.append(outcome.clone.in_pool)
        # The name is given in the background.
        await replica.stores.works.close(5)
    assert made_at_provider == [True, True, False]
    audit = await street.simulator.audit()
    assert (audit["adds"], audit["edits"], audit["refusals"]) == (2, named, {})


async def test_a_change_that_has_no_place_is_spoken_by_the_embedded_engine(streets) -> None:
    street, user = await streets(places=1, adds=1, overflow=Overflow.LOCAL), f"u-{uuid4()}"
    await street.keeping.keep(user, sample("first"), CONSENT)
    await street.replicas[0].pooled.pool._pins.forget(user)
    changed = await street.keeping.keep(user, sample("second"), CONSENT)
    assert (changed.action, changed.clone.in_pool) == ("updated", False)
    # The voice of another sample is nobody's.
    assert await street.voices() == []
    assert await street.states() == []


async def test_an_unknown_add_is_told_when_nothing_may_answer_in_its_place(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    await street.simulator.ask_for("add", Fault.FAILED_BEFORE)
    with pytest.raises(CloneOutcomeUnknown):
        await street.keeping.keep(user, sample("first"), CONSENT)
    assert await street.states() == [SlotState.ADDING]
    # The same sample waits for the outcome, another one does not.
    with pytest.raises(VoiceSlotsExhausted):
        await street.keeping.keep(user, sample("first"), CONSENT)
    assert (await street.keeping.keep(user, sample("second"), CONSENT)).action == "created"


async def test_what_could_not_be_removed_is_removed_by_the_sweeper(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    await street.keeping.keep(user, sample("first"), CONSENT)
    await street.simulator.ask_for("delete", *[Fault.FAILED_BEFORE] * 3)
    assert (await street.keeping.keep(user, sample("second"), CONSENT)).action == "updated"
    assert await street.states() == [SlotState.HELD, SlotState.LEAVING]
    await street.keeping.sweep()
    assert await street.states() == [SlotState.HELD, SlotState.LEAVING]
    street.ahead = timedelta(minutes=2)
    await street.keeping.sweep()
    assert await street.states() == [SlotState.HELD]
    assert await street.voices() == [user]


async def test_a_voice_that_an_operator_evicts_is_its_users_again_when_it_is_needed(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    made = await street.keeping.keep(user, sample("first"), CONSENT)
    pool = street.replicas[0].pooled.pool
    assert await pool.evict(user, "operator") is Eviction.REMOVED
    assert await pool.evict(user, "operator") is Eviction.CHANGED
    assert (await street.voices(), await street.states()) == ([], [])
    again = await street.keeping.regain(user)
    assert (again.action, again.dedup) == ("created", True)
    assert again.clone.clone_id != made.clone.clone_id


async def test_a_newer_voice_is_not_removed_in_place_of_the_one_that_was_named(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    old = (await street.keeping.keep(user, sample("first"), CONSENT)).clone
    new = (await street.keeping.keep(user, sample("second"), CONSENT)).clone
    pool = street.replicas[0].pooled.pool
    assert await pool.lost(user, old.engine_voice_id) is Eviction.CHANGED
    assert await pool.evict(user, "operator", old.engine_voice_id) is Eviction.CHANGED
    assert (await street.voices(), await street.states()) == ([user], [SlotState.HELD])
    assert await pool.evict(user, "operator", new.engine_voice_id) is Eviction.REMOVED


async def test_an_operator_removes_the_clone_that_was_named_and_no_newer_one(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    old = (await street.keeping.keep(user, sample("first"), CONSENT)).clone
    replica: Replica = street.replicas[0]

    class Register(MongoVoices):
        """The user uploads again as soon as the clone is found."""

        async def with_clone(self, clone_id: str) -> Voice | None:
            found = await replica.stores.voices.with_clone(clone_id)
            await replica.keeping.keep(user, sample("second"), CONSENT)
            return found

    register = Register(replica.stores.database["voices"])
    with pytest.raises(VoiceNotFound):
        await Clones(register, replica.pooled.pool).evict(old.clone_id)
    assert (await street.voices(), await street.states()) == ([user], [SlotState.HELD])


async def test_a_voice_being_evicted_is_waited_for(streets) -> None:
    street, user = await streets(), f"u-{uuid4()}"
    made = await street.keeping.keep(user, sample("first"), CONSENT)
    voices = street.replicas[0].stores.voices
    voice, now = await voices.get(user), street.now()
    marked = voice.marked(now + timedelta(seconds=10), now)
    assert await voices.replace(voice, marked)
    waiting = street.keeping.regain(user)
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    assert await voices.replace(marked, marked.unmarked(street.now()))
    outcome = await asyncio.wait_for(waiting, 5)
    assert (outcome.action, outcome.clone.clone_id) == ("unchanged", made.clone.clone_id)
    # Whoever marked it has died: the mark is over soon.
    stale = await voices.get(user)
    assert await voices.replace(stale, stale.marked(street.now() - timedelta(seconds=1), street.now()))
    assert (await street.keeping.regain(user)).action == "unchanged"


async def test_few_voices_are_prepared_at_once(streets) -> None:
    street, users = await streets(), [f"u-{uuid4()}" for _ in range(2)]
    for user in users:
        await street.keeping.keep(user, sample("first"), CONSENT)
        await street.replicas[0].pooled.pool.evict(user, "operator")
    await street.simulator.reset(latency=0.1)
    assert street.keeping.prefetch(users[0])
    assert not street.keeping.prefetch(users[1])
    assert street.keeping.prefetch(users[0])
    prepared = await street.keeping.regain(users[0])
    assert (await street.simulator.audit())["requests"]["add"] == 1
    assert prepared.clone.in_pool
    assert await street.voices() == [users[0]]
