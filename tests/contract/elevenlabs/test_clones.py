"""What we ask of ElevenLabs for clones."""

import hashlib
from pathlib import Path

import pytest

from dev.simulator.faults import Fault
from dev.simulator.remote import Simulator
from services.synthesis.engines.elevenlabs import ElevenLabsEngine
from services.voice.ports import (
    Places,
    Provider,
    ProviderAddsSpent,
    ProviderPlacesTaken,
    ProviderUnavailable,
    ProviderVoiceMissing,
)
from services.voice.providers.elevenlabs import ElevenLabsProvider, open_elevenlabs
from tests.contract.elevenlabs import SAMPLE, clone


async def test_a_clone_is_made_of_the_sample_and_carries_both_ids(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    voice_id = await clone(provider, "u7", "a7")
    (voice,) = (await simulator.audit())["voices"]
    assert voice["voice_id"] == voice_id
    assert voice["files"] == [hashlib.sha256(SAMPLE.mp3).hexdigest()]
    (held,) = await provider.held()
    assert (held.engine_voice_id, held.user_id, held.attempt_id) == (voice_id, "u7", "a7")
    assert held.made_at


async def test_a_list_is_whole_whatever_the_pages_or_it_is_an_error(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    await simulator.reset(slots=150, adds=150)
    made = [await clone(provider, f"u{number}", f"a{number}") for number in range(101)]
    held = await provider.held()
    assert sorted(voice.engine_voice_id for voice in held) == sorted(made)
    assert (await simulator.audit())["requests"]["list"] == 2
    # The first page comes; the second never does.
    await simulator.ask_for("list", Fault.SLOW_BODY, *[Fault.FAILED_BEFORE] * 3)
    with pytest.raises(ProviderUnavailable):
        await provider.held()
    assert (await simulator.audit())["requests"]["list"] == 6


async def test_the_vendors_own_voices_are_not_listed(provider: ElevenLabsProvider) -> None:
    assert await provider.held() == []


async def test_a_voice_takes_its_own_id_as_its_name(provider: ElevenLabsProvider) -> None:
    voice_id = await clone(provider)
    await provider.rename(voice_id, voice_id)
    (held,) = await provider.held()
    assert (held.name, held.user_id, held.attempt_id) == (voice_id, "u1", "a1")


async def test_a_discarded_voice_is_gone_and_may_be_discarded_again(provider: ElevenLabsProvider) -> None:
    voice_id = await clone(provider)
    await provider.discard(voice_id)
    await provider.discard(voice_id)
    await provider.discard("not/an id")
    assert await provider.held() == []


async def test_a_voice_can_be_asked_for_by_its_id(provider: ElevenLabsProvider) -> None:
    voice_id = await clone(provider)
    assert await provider.has(voice_id)
    await provider.discard(voice_id)
    assert not await provider.has(voice_id)
    assert not await provider.has("not/an id")


async def test_the_allowance_is_the_subscriptions(provider: ElevenLabsProvider) -> None:
    await clone(provider)
    allowance = await provider.allowance()
    assert (allowance.places, allowance.places_taken) == (30, 1)
    assert (allowance.adds, allowance.adds_spent) == (95, 1)
    assert allowance.renewed_at


async def test_each_limit_has_an_error_of_its_own(provider: ElevenLabsProvider, simulator: Simulator) -> None:
    await simulator.reset(slots=1, adds=2)
    voice_id = await clone(provider)
    with pytest.raises(ProviderPlacesTaken):
        await clone(provider)
    await provider.discard(voice_id)
    await clone(provider)
    with pytest.raises(ProviderAddsSpent):
        await provider.rename((await provider.held())[0].engine_voice_id, "x")
    await provider.discard((await provider.held())[0].engine_voice_id)
    with pytest.raises(ProviderAddsSpent):
        await clone(provider)
    with pytest.raises(ProviderVoiceMissing):
        await provider.rename(voice_id, "x")


async def test_what_a_clone_is_of_is_told(provider: ElevenLabsProvider) -> None:
    cloning: Provider = provider
    places: Places = provider
    assert (cloning.name, cloning.engine) == ("elevenlabs", ElevenLabsEngine.name)
    assert (cloning.voice_source, cloning.pooled) == ("provider_voice_id", True)
    assert (await places.allowance()).places_taken == 0


async def test_voices_of_another_installation_are_foreign(server: Simulator, key_file: Path) -> None:
    async with (
        open_elevenlabs(server.url, key_file, installation="ours") as provider,
        open_elevenlabs(server.url, key_file, installation="theirs") as neighbour,
    ):
        made = await clone(provider, "ada", "a1")
        await clone(neighbour, "bea", "b1")
        held = {voice.user_id: voice.engine_voice_id for voice in await provider.held()}
    assert held.keys() == {"ada", ""}
    assert held["ada"] == made
