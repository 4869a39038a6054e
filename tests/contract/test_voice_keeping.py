"""Whatever dies while a voice is made, replaced or erased, nothing is lost and nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest

from services.kernel.database import database_client
from services.voice import mongo
from services.voice.domain import (
    Attempt,
    Outcome,
    Upload,
    Voice,
    VoiceChangedMeanwhile,
    VoiceStoreUnavailable,
)
from services.voice.ports import NormalisedSample, ProviderPlacesTaken
from services.voice.usecases import Uploading
from services.voice.works import Works
from tests.contract.voice_keeping_house import (
    CONSENT,
    NOW,
    DeafVoices,
    House,
    PowerCut,
    Rereading,
    SeenVoices,
    SlowBlobs,
    sample,
)


@pytest.fixture(scope="module")
async def voices(mongo_url: str) -> AsyncIterator[mongo.MongoVoices]:
    async with database_client(mongo_url, connections=8, seconds=10) as client:
        found = mongo.MongoVoices(client[f"voice_{uuid4().hex[:12]}"]["voices"])
        await found.prepare()
        yield found


@pytest.fixture
def house(voices: mongo.MongoVoices) -> House:
    return House(voices)


def known(voice: Voice) -> set[str]:
    return {voice.clone.engine_voice_id} if voice.clone else set()


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 12))
async def test_a_first_upload_that_dies_anywhere_is_there_or_not(
    house: House, at: int, after_effect: bool
) -> None:
    with suppress(VoiceStoreUnavailable):
        await house.keeping(PowerCut(at, after_effect)).keep(house.user_id, sample("first"), CONSENT)
    voice = await house.settled()
    assert voice.sample is None or voice.sample.hash == "first"
    outcome = await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    assert outcome.action == ("unchanged" if voice.sample else "created")


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 14))
async def test_a_second_upload_that_dies_anywhere_leaves_one_of_the_two_voices(
    house: House, at: int, after_effect: bool
) -> None:
    await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    with suppress(VoiceStoreUnavailable):
        await house.keeping(PowerCut(at, after_effect)).keep(house.user_id, sample("second"), CONSENT)
    voice = await house.settled()
    assert voice.sample is not None
    assert voice.sample.hash in {"first", "second"}
    assert known(voice) <= house.provider.made


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 8))
async def test_an_erasure_that_dies_anywhere_can_be_repeated_until_nothing_is_left(
    house: House, at: int, after_effect: bool
) -> None:
    await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    with suppress(VoiceStoreUnavailable):
        await house.keeping(PowerCut(at, after_effect)).erase(house.user_id)
    await house.keeping().erase(house.user_id)
    assert await house.stored() == set()
    assert house.provider.made == set()
    assert (await house.voices.get(house.user_id)).revision == 0


async def test_an_upload_whose_caller_hung_up_is_carried_to_its_end(house: House) -> None:
    keeping = house.keeping()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        begun.set()
        await go_on.wait()

    house.provider.during = pause
    abandoned = asyncio.create_task(keeping.keep(house.user_id, sample("first"), CONSENT))
    await asyncio.wait_for(begun.wait(), 10)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned
    go_on.set()
    assert (await keeping.keep(house.user_id, sample("first"), CONSENT)).action == "unchanged"
    assert len(house.provider.made) == 1


async def test_an_upload_under_way_when_the_service_stops_leaves_nothing(house: House) -> None:
    keeping, begun = house.keeping(), asyncio.Event()

    async def forever() -> None:
        begun.set()
        await asyncio.Event().wait()

    house.provider.during = forever
    upload = asyncio.create_task(keeping.keep(house.user_id, sample("first"), CONSENT))
    await asyncio.wait_for(begun.wait(), 10)
    await house.works.close(0.01)
    with pytest.raises(asyncio.CancelledError):
        await upload
    house.provider.during = None
    assert await house.stored() == set()
    assert (await keeping.keep(house.user_id, sample("second"), CONSENT)).action == "created"


async def test_an_upload_that_was_taken_for_dead_does_not_overwrite_the_one_that_followed(
    house: House,
) -> None:
    claimed = Voice(house.user_id).claimed(Attempt(str(uuid4()), "remote", NOW + timedelta(minutes=1)), NOW)
    assert await house.voices.replace(Voice(house.user_id), claimed)
    house.now += timedelta(minutes=2)
    keeping = house.keeping()
    assert (await keeping.keep(house.user_id, sample("second"), CONSENT)).action == "created"
    late = claimed.abandoned(NOW)
    assert not await house.voices.replace(claimed, late)
    voice = await house.settled()
    assert voice.sample is not None
    assert voice.sample.hash == "second"


async def test_an_erasure_during_an_upload_wins_and_nothing_is_left(house: House) -> None:
    keeping = house.keeping()
    house.provider.during = lambda: keeping.erase(house.user_id)
    with pytest.raises(VoiceChangedMeanwhile):
        await keeping.keep(house.user_id, sample("first"), CONSENT)
    assert await house.stored() == set()
    assert house.provider.made == set()
    assert (await house.settled()).revision == 0


@pytest.mark.parametrize("at", range(5, 16))
async def test_what_an_upload_makes_after_its_erasure_and_before_its_death_is_removed_later(
    house: House, at: int
) -> None:
    cut = PowerCut(at)
    keeping, elsewhere = house.keeping(cut), house.keeping()
    house.provider.cut, house.provider.during = cut, lambda: elsewhere.erase(house.user_id)
    with suppress(VoiceChangedMeanwhile, VoiceStoreUnavailable):
        await keeping.keep(house.user_id, sample("first"), CONSENT)
    assert (await house.settled()).revision == 0


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 11))
async def test_a_clone_that_is_made_again_and_dies_anywhere_is_there_or_not(
    house: House, at: int, after_effect: bool
) -> None:
    made = await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    assert await house.keeping().drop(house.user_id, made.clone.clone_id)
    assert house.provider.made == set()
    with suppress(VoiceStoreUnavailable):
        await house.keeping(PowerCut(at, after_effect)).regain(house.user_id)
    voice = await house.settled()
    assert voice.sample is not None
    # One whose name was lost is for the reconciler to find.
    assert known(voice) <= house.provider.made
    outcome = await house.keeping().regain(house.user_id)
    assert outcome.action == ("unchanged" if voice.clone else "created")
    assert (outcome.sample.hash, outcome.dedup) == ("first", True)
    assert not await house.keeping().drop(house.user_id, made.clone.clone_id)


async def test_an_erasure_while_an_upload_is_examined_wins(house: House) -> None:
    keeping = house.keeping()
    await keeping.keep(house.user_id, sample("first"), CONSENT)

    class Examining(Rereading):
        async def examine(self, recording: bytes) -> NormalisedSample:
            await keeping.erase(house.user_id)
            return sample("second")

    uploading = Uploading(Examining(), keeping, lambda: house.now)
    with pytest.raises(VoiceChangedMeanwhile):
        await uploading.upload(house.user_id, lambda: Upload(b"a recording"), "I agree.", "test")
    assert await house.stored() == set()
    assert (await house.settled()).revision == 0


async def test_an_erasure_while_an_upload_waits_for_another_wins(house: House) -> None:
    keeping, elsewhere = house.keeping(), house.keeping(works=Works())
    await keeping.keep(house.user_id, sample("first"), CONSENT)
    waiting: list[asyncio.Task[Outcome]] = []

    async def erased() -> None:
        """While one upload makes its clone, another has seen the voice and waits; then comes the erasure."""
        house.provider.during = None
        looking = house.voices = SeenVoices(house.voices)
        other = house.keeping(works=Works())
        waiting.append(asyncio.create_task(other.keep(house.user_id, sample("third"), CONSENT)))
        await asyncio.wait_for(looking.seen.wait(), 10)
        await elsewhere.erase(house.user_id)

    house.provider.during = erased
    with pytest.raises(VoiceChangedMeanwhile):
        await keeping.keep(house.user_id, sample("second"), CONSENT)
    with pytest.raises(VoiceChangedMeanwhile):
        await waiting[0]
    assert (await house.settled()).revision == 0


async def test_a_standby_is_not_made_of_a_sample_that_was_replaced_meanwhile(house: House) -> None:
    keeping, elsewhere = house.keeping(), house.keeping(works=Works())
    made = await keeping.keep(house.user_id, sample("first"), CONSENT)
    await keeping.drop(house.user_id, made.clone.clone_id)

    async def replaced_and_refused() -> None:
        """The upload is taken for dead by another replica, and is then given no place."""
        house.provider.during = None
        house.now += timedelta(minutes=2)
        second = await elsewhere.keep(house.user_id, sample("second"), CONSENT)
        await elsewhere.drop(house.user_id, second.clone.clone_id)
        raise ProviderPlacesTaken("All places are taken.")

    house.provider.during = replaced_and_refused
    with pytest.raises(VoiceChangedMeanwhile):
        await keeping.keep(house.user_id, sample("first"), CONSENT)
    voice = await house.settled()
    assert (voice.sample and voice.sample.hash, voice.clone, voice.standby) == ("second", None, None)


async def test_a_sample_that_was_stored_is_kept_though_nobody_was_told_and_its_clone_is_gone(
    house: House,
) -> None:
    elsewhere = house.keeping(works=Works())

    async def dropped() -> None:
        clone = (await house.voices.get(house.user_id)).clone
        assert clone is not None
        assert await elsewhere.drop(house.user_id, clone.clone_id)

    house.voices = DeafVoices(house.voices, dropped)
    with pytest.raises(VoiceStoreUnavailable):
        await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    voice = await house.settled()
    assert voice.sample is not None
    assert (await house.keeping().regain(house.user_id)).action == "created"


@pytest.mark.parametrize("erased", [False, True])
async def test_a_sample_that_lands_in_the_store_after_its_upload_was_given_up_is_removed(
    house: House, erased: bool
) -> None:
    house.blobs = slow = SlowBlobs(house.blobs)
    with pytest.raises(VoiceStoreUnavailable):
        await house.keeping().keep(house.user_id, sample("first"), CONSENT)
    if erased:
        await house.keeping().erase(house.user_id)
    await slow.land()
    assert await house.stored()
    assert (await house.settled()).revision == 0


async def test_who_waits_for_the_same_clone_waits_once(house: House) -> None:
    keeping = house.keeping()
    made = await keeping.keep(house.user_id, sample("first"), CONSENT)
    await keeping.drop(house.user_id, made.clone.clone_id)
    elsewhere = house.keeping(works=Works())
    outcomes = await asyncio.gather(
        *(each.regain(house.user_id) for _ in range(10) for each in (keeping, elsewhere))
    )
    assert len({outcome.clone.clone_id for outcome in outcomes}) == 1
    assert len(house.provider.made) == 1
