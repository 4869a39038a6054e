"""A stack whose voices are kept at a provider with few places: heard, counted, and missed when it is away."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev.performer import Performer, accepted
from dev.ports import free_port
from dev.process import Process
from dev.project import PYTHONPATH, ROOT, python
from dev.services import Provider
from dev.simulator.remote import Simulator
from dev.simulator.serving import spec
from dev.stack import Stack
from services.voice.providers.elevenlabs import USER_LABEL
from tests import samples
from tests.e2e.conftest import GENEROUS, fresh_codes
from tests.e2e.hearing import marker

pytestmark = pytest.mark.slow
VALUE = "Seven of Hearts"
PLACES = 3
READY_SECONDS = 120


@dataclass
class House:
    """A running stack, its provider, and an administrator."""

    stack: Stack
    codes: Iterator[str]
    provider: Simulator
    process: Process
    admin: httpx.AsyncClient

    @asynccontextmanager
    async def performer(self, speaker: int = 0) -> AsyncIterator[Performer]:
        """Signed up, with a voice."""
        async with Performer.signed_up(self.stack.url, next(self.codes)) as performer:
            accepted(await performer.upload(samples.speech(speaker)))
            yield performer

    async def voice_of(self, performer: Performer) -> dict[str, Any]:
        """As the provider has it."""
        voices = (await self.provider.audit())["voices"]
        (voice,) = [each for each in voices if each["labels"].get(USER_LABEL) == performer.user_id]
        return dict(voice)

    async def provider_goes(self) -> None:
        await self.process.stop()

    async def provider_comes_back(self) -> None:
        """With nothing of what it had."""
        self.process = await Process.start(self.process.spec, self.stack.logs, ROOT)

    async def status(self) -> dict[str, Any]:
        return accepted(await self.admin.get("/v1/admin/voice-pool/status"))

    async def evict(self, performer: Performer) -> None:
        meta = accepted(await performer.http.get("/v1/users/me/voice/meta"))
        answer = await self.admin.post("/v1/admin/voice-pool/evict", json={"voice_id": meta["voiceCloneId"]})
        assert accepted(answer)["removed"] is True


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    data, port = tmp_path_factory.mktemp("stack-with-a-provider"), free_port()
    key = data / "provider.key"
    key.write_text("a key of the account's owner")
    arguments = ("--latency", "0", "--slots", str(PLACES), "--key", key.read_text())
    settings = {"CONTENT_MODEL_ORDER": "offline"}
    provider = Provider(f"http://127.0.0.1:{port}", key)
    stack = Stack(data, engine="tone", limits=GENEROUS, environment=settings, provider=provider)
    async with AsyncExitStack() as cleanup:
        http = await cleanup.enter_async_context(httpx.AsyncClient())
        process = await Process.start(spec(port, *arguments), data, ROOT)
        admin = httpx.AsyncClient(base_url=stack.url, timeout=30)
        await cleanup.enter_async_context(admin)
        house = House(stack, iter(()), Simulator(provider.base_url, http), process, admin)
        cleanup.push_async_callback(house.provider_goes)
        await cleanup.enter_async_context(stack)
        admin.headers["authorization"] = f"Bearer {await stack.admin_token()}"
        house.codes = iter(await fresh_codes(admin, 10))
        yield house


async def perform(performer: Performer) -> tuple[str, int]:
    """Where the voice came from, and its tone."""
    memo = accepted(await performer.perform(VALUE))
    return memo["voiceSource"], marker(base64.b64decode(memo["audio_base64"]))


async def test_a_memo_speaks_in_the_provider_s_clone_of_that_user(house: House) -> None:
    async with house.performer() as one, house.performer() as other:
        tones = {}
        for performer in (one, other):
            voice = await house.voice_of(performer)
            assert await perform(performer) == ("provider_voice_id", voice["marker_hz"])
            tones[performer.user_id] = voice["marker_hz"]
        # The same recording, and yet two voices.
        assert len(set(tones.values())) == 2
        async with one.stream(VALUE) as response:
            audio = b"".join([chunk async for chunk in response.aiter_bytes()])
        assert response.headers["voice-source"] == "provider_voice_id"
        assert marker(audio) == tones[one.user_id]
        for performer in (one, other):
            assert (await performer.http.delete("/v1/users/me/voice")).is_success
        assert (await house.provider.audit())["voices_now"] == 0


async def test_a_memo_of_a_fast_model_costs_half_of_its_characters(house: House) -> None:
    async with house.performer() as performer:
        memo = accepted(await performer.perform(VALUE))
        assert memo["charsUsedRaw"] == len(memo["text"])
        assert memo["charsUsedEffective"] == memo["charCount"] == round(memo["charsUsedRaw"] / 2)
        wanted = {"model": "eleven_flash_v2_5", "voice": "me", "input": "Half of twenty-four char"}
        assert (await performer.http.post("/v1/audio/speech", json=wanted)).is_success
        paid = (await performer.credits())["charCount"] - memo["charCount"]
        assert paid == len(wanted["input"]) / 2
        refused = await performer.http.post("/v1/audio/speech", json=wanted | {"model": "eleven_v3"})
        assert (refused.status_code, refused.json()["error"]) == (404, "MODEL_NOT_FOUND")
        assert (await performer.http.delete("/v1/users/me/voice")).is_success


async def test_opening_the_routines_makes_the_voice_the_most_recent(house: House) -> None:
    async with house.performer() as one, house.performer(1) as other:
        for performer in (other, one):
            touched = accepted(await performer.http.post("/api/users/me/voice/pool/touch", json={}))
            assert (touched["status"], touched["position"], touched["enabled"]) == ("ready", 0, True)
        touched = accepted(await other.http.get("/v1/users/me/voice/meta"))
        assert (touched["inPool"], touched["state"]) == (True, "ready")
        for performer in (one, other):
            assert (await performer.http.delete("/v1/users/me/voice")).is_success


async def test_an_administrator_sees_the_pool_and_takes_a_place_away(house: House) -> None:
    async with house.performer() as performer:
        before = await house.status()
        assert (before["provider"], before["capacity"], before["size"]) == ("elevenlabs", PLACES, 1)
        await house.evict(performer)
        after = await house.status()
        assert (after["size"], after["deletion_pending"], after["orphans"]) == (0, 0, 0)
        assert int(after["evictions"]) == int(before["evictions"]) + 1
        assert (await house.provider.audit())["voices_now"] == 0
        # The next performance makes the voice again.
        source, heard = await perform(performer)
        assert (source, heard) == ("provider_voice_id", (await house.voice_of(performer))["marker_hz"])
        refused = await performer.http.get("/v1/admin/voice-pool/status")
        assert refused.status_code == 403
        assert (await performer.http.delete("/v1/users/me/voice")).is_success


async def test_with_the_provider_away_the_embedded_engine_s_clone_answers(house: House) -> None:
    async with house.performer() as performer:
        cloned = await house.voice_of(performer)
        await house.evict(performer)
        await house.provider_goes()
        try:
            source, _ = await perform(performer)
            assert source == "local_clone"
            # Still the same voice, and no other: the same tone again.
            assert await perform(performer) == await perform(performer)
        finally:
            await house.provider_comes_back()
        source, heard = await perform(performer)
        async with asyncio.timeout(30):
            # A provider that did not answer is left alone for a moment.
            while source != "provider_voice_id":
                source, heard = await perform(performer)
        voice = await house.voice_of(performer)
        assert (source, heard) == ("provider_voice_id", voice["marker_hz"])
        assert voice["voice_id"] != cloned["voice_id"]
        assert (await performer.http.delete("/v1/users/me/voice")).is_success


async def test_up_with_a_simulator_tells_where_it_is_and_speaks_in_its_tones(tmp_path: Path) -> None:
    arguments = ("--simulator", "--faults", "0", "--data-dir", str(tmp_path / "data"))
    child = await asyncio.create_subprocess_exec(
        *python("dev.up", "--json", "--engine", "tone", *arguments),
        env={**os.environ, **PYTHONPATH},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            ready = json.loads(await child.stdout.readline())
        async with (
            Performer.signed_up(ready["url"], ready["activation_codes"][0]) as performer,
            httpx.AsyncClient() as http,
        ):
            accepted(await performer.upload(samples.speech()))
            (voice,) = (await Simulator(ready["simulator"], http).audit())["voices"]
            assert await perform(performer) == ("provider_voice_id", voice["marker_hz"])
    finally:
        child.terminate()
        await child.wait()
