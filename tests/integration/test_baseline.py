"""What we are measured against does the same job: upload, perform, recording, charged once."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bench.baseline.running import spec
from dev.performer import Performer, accepted
from dev.ports import free_port
from dev.process import Process
from dev.project import ROOT
from dev.simulator.faults import Fault
from dev.simulator.options import Options
from dev.simulator.remote import Simulator
from dev.simulator.serving import running
from tests import samples
from tests.e2e.hearing import marker

pytestmark = pytest.mark.slow
VALUE = "Seven of Hearts"
MONTHLY_LIMIT = 400


@dataclass
class House:
    url: str
    provider: Simulator

    @asynccontextmanager
    async def performer(self) -> AsyncIterator[Performer]:
        """Signed up, with a voice."""
        async with Performer.signed_up(self.url, "no code is asked for") as performer:
            accepted(await performer.upload(samples.speech()))
            yield performer


@pytest.fixture(scope="module")
async def house(mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder, port = tmp_path_factory.mktemp("baseline"), free_port()
    async with running(Options(latency=0)) as provider:
        limit = {"BASELINE_MONTHLY_LIMIT": str(MONTHLY_LIMIT)}
        process = await Process.start(spec(port, mongo_url, folder, provider.url, limit), Path(folder), ROOT)
        try:
            yield House(f"http://127.0.0.1:{port}", provider)
        finally:
            await process.stop()


async def used(performer: Performer) -> int:
    return int((await performer.credits())["charCount"])


async def test_a_memo_is_spoken_in_the_user_s_voice_kept_and_charged_once(house: House) -> None:
    async with house.performer() as performer:
        memo = accepted(await performer.perform(VALUE))
        audio = base64.b64decode(memo["audio_base64"])
        voice = (await house.provider.audit())["voices"][-1]
        assert marker(audio) == voice["marker_hz"]
        assert memo["text"].count(VALUE) == 1
        assert memo["charCount"] == memo["charsUsedEffective"] == await used(performer) > 0
        (recording,) = await performer.recordings()
        assert (recording["id"], recording["text"]) == (memo["recording_id"], memo["text"])
        kept = await performer.http.get(f"/v1/recordings/{recording['id']}/audio")
        assert kept.content == audio


async def test_a_stream_is_the_recording_and_is_charged_once(house: House) -> None:
    async with house.performer() as performer:
        async with performer.stream(VALUE, background_sound=True) as response:
            assert response.is_success
            heard = b"".join([chunk async for chunk in response.aiter_bytes()])
        (recording,) = await performer.recordings()
        assert recording["id"] == response.headers["recording-id"]
        kept = await performer.http.get(f"/v1/recordings/{recording['id']}/audio")
        assert kept.content == heard
        assert recording["credits"] == await used(performer) > 0


async def test_credits_are_never_overspent_by_performances_at_once(house: House) -> None:
    async with house.performer() as performer:
        answers = await asyncio.gather(*(performer.perform(VALUE) for _ in range(12)))
        assert {answer.status_code for answer in answers} == {200, 402}
        paid = sum(recording["credits"] for recording in await performer.recordings())
        assert await used(performer) == paid <= MONTHLY_LIMIT


async def test_a_failed_performance_costs_nothing(house: House) -> None:
    async with house.performer() as performer:
        await house.provider.ask_for("speak", Fault.FAILED_BEFORE, Fault.FAILED_BEFORE)
        assert (await performer.perform(VALUE)).status_code == 502
        async with performer.stream(VALUE) as response:
            assert response.status_code == 502
        assert await used(performer) == 0
        assert await performer.recordings() == []


async def test_strangers_are_refused_and_hear_nothing_of_others(house: House) -> None:
    async with house.performer() as one, house.performer() as other, httpx.AsyncClient() as stranger:
        memo = accepted(await one.perform(VALUE))
        path = f"/v1/recordings/{memo['recording_id']}/audio"
        assert (await other.http.get(path)).status_code == 404
        assert (await stranger.get(f"{house.url}{path}")).status_code == 401
