"""The vendors' own clients work against the simulator and do not notice; its limits and faults are real."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from google import genai
from google.genai import errors, types

from dev.ports import free_port
from dev.process import Process
from dev.simulator.chance import Chance
from dev.simulator.faults import Fault, FaultPlan
from dev.simulator.options import Options
from dev.simulator.plans import PLANS
from dev.simulator.remote import Simulator
from dev.simulator.serving import running, spec
from services.synthesis.engines.tone import heard_hz

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
AT_ONCE: dict[str, Any] = {"latency": 0.0, "hang_seconds": 20.0}
DEFAULTS = {
    **AT_ONCE,
    "plan": "creator",
    "seed": 0,
    "fault_share": 0.0,
    "key": "",
    "edits_spend_budget": True,
}
LIMITS = {name: getattr(PLANS["creator"], name) for name in ("slots", "adds", "characters", "concurrent")}
FLASH, MULTILINGUAL = "eleven_flash_v2_5", "eleven_multilingual_v2"
TEXT = "I woke up with the Queen of Hearts in my head."


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Simulator]:
    async with running(Options(**AT_ONCE)) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
async def simulator(server: Simulator) -> Simulator:
    await server.reset(**DEFAULTS, **LIMITS, requests_per_second=100_000)
    return server


@pytest.fixture(scope="module")
async def http(server: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers={"xi-api-key": "k"}, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
async def vendor(server: Simulator) -> AsyncIterator[AsyncElevenLabs]:
    async with httpx.AsyncClient(timeout=10) as client:
        yield AsyncElevenLabs(base_url=server.url, api_key="k", httpx_client=client)


async def made(vendor: AsyncElevenLabs, name: str = "anna", **labels: str) -> str:
    voice = await vendor.voices.ivc.create(name=name, files=[b"speech of " + name.encode()], labels=labels)
    return str(voice.voice_id)


def heard(mp3: bytes) -> float:
    with av.open(io.BytesIO(mp3)) as container:
        signal = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return heard_hz((np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes(), 44_100)


async def markers(simulator: Simulator) -> dict[str, int]:
    return {voice["voice_id"]: voice["marker_hz"] for voice in (await simulator.audit())["voices"]}


async def test_elevenlabs_own_client_keeps_voices(vendor: AsyncElevenLabs) -> None:
    voice_id = await made(vendor, user="u1", attempt="a1")
    assert (await vendor.voices.update(voice_id, name=voice_id)).status == "ok"
    voice = await vendor.voices.get(voice_id)
    assert (voice.name, voice.category, voice.labels) == (voice_id, "cloned", {"user": "u1", "attempt": "a1"})
    assert voice_id in [voice.voice_id for voice in (await vendor.voices.get_all()).voices]
    assert (await vendor.voices.delete(voice_id)).status == "ok"
    assert voice_id not in [voice.voice_id for voice in (await vendor.voices.get_all()).voices]


async def test_elevenlabs_own_client_reads_page_after_page(vendor: AsyncElevenLabs) -> None:
    all_made = {await made(vendor, f"voice {number}") for number in range(7)}
    found: list[str] = []
    page = await vendor.voices.search(page_size=3, category="cloned")
    while True:
        found += [voice.voice_id for voice in page.voices]
        if not page.has_more:
            break
        page = await vendor.voices.search(
            page_size=3, category="cloned", next_page_token=page.next_page_token
        )
    assert sorted(found) == sorted(all_made)
    assert len(found) == len(set(found))


async def test_elevenlabs_own_client_finds_a_voice_by_its_label(vendor: AsyncElevenLabs) -> None:
    await made(vendor, attempt="a1")
    wanted = await made(vendor, attempt="a2")
    assert [voice.voice_id for voice in (await vendor.voices.search(search="a2")).voices] == [wanted]


async def test_elevenlabs_own_client_reads_the_subscription(vendor: AsyncElevenLabs) -> None:
    await made(vendor)
    plan = await vendor.user.subscription.get()
    assert (plan.voice_limit, plan.voice_slots_used) == (30, 1)
    assert (plan.max_voice_add_edits, plan.voice_add_edit_counter) == (95, 1)
    assert plan.next_character_count_reset_unix
    assert plan.status == "active"


async def test_elevenlabs_own_client_hears_whose_voice_it_is(
    vendor: AsyncElevenLabs, simulator: Simulator
) -> None:
    voices = [await made(vendor, name) for name in ("anna", "bea")]
    tones = await markers(simulator)
    for voice_id in voices:
        chunks = vendor.text_to_speech.stream(voice_id, text=TEXT, model_id=FLASH)
        mp3 = b"".join([chunk async for chunk in chunks])
        assert heard(mp3) == pytest.approx(tones[voice_id], abs=1)
    assert tones[voices[0]] != tones[voices[1]]


async def test_elevenlabs_blocking_client_works_as_well(simulator: Simulator) -> None:
    def use() -> tuple[str, bytes]:
        with httpx.Client(timeout=10) as client:
            vendor = ElevenLabs(base_url=simulator.url, api_key="k", httpx_client=client)
            voice = vendor.voices.ivc.create(name="anna", files=[b"speech"])
            speech = vendor.text_to_speech.convert(voice.voice_id, text=TEXT, output_format="pcm_16000")
            return voice.voice_id, b"".join(speech)

    voice_id, pcm = await asyncio.to_thread(use)
    assert heard_hz(pcm, 16_000) == pytest.approx((await markers(simulator))[voice_id], abs=1)


async def test_speech_says_what_it_cost_and_how_many_run(vendor: AsyncElevenLabs) -> None:
    voice_id = await made(vendor)
    async with vendor.text_to_speech.with_raw_response.stream(
        voice_id, text="x" * 100, model_id=FLASH
    ) as response:
        headers = response.headers
        assert [chunk async for chunk in response.data]
    assert headers["character-cost"] == "50"
    assert (headers["current-concurrent-requests"], headers["maximum-concurrent-requests"]) == ("1", "10")
    assert headers["request-id"]


def gemini(simulator: Simulator) -> Any:
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=simulator.url)).aio


BRIEF = '<brief>{"value": "Leo", "language": "en"}</brief>'
NO_THINKING = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(thinking_budget=0))


async def test_gemini_own_client_gets_a_text(simulator: Simulator) -> None:
    async with gemini(simulator) as client:
        answer = await client.models.generate_content(
            model="gemini-2.5-flash-lite", contents=BRIEF, config=NO_THINKING
        )
    assert answer.text.count("Leo") == 1
    assert 80 <= len(answer.text) <= 120
    assert answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > 0


async def test_gemini_own_client_gets_a_text_as_it_is_written(simulator: Simulator) -> None:
    async with gemini(simulator) as client:
        stream = await client.models.generate_content_stream(
            model="gemini-2.5-flash-lite", contents="Hello there", config=NO_THINKING
        )
        texts = [chunk.text async for chunk in stream]
    assert len(texts) > 1
    assert "".join(texts) == "You said: Hello there"


async def test_gemini_own_client_is_told_of_refusals_and_failures(simulator: Simulator) -> None:
    await simulator.ask_for("generate", Fault.REFUSAL, Fault.CONCURRENT, Fault.BUSY, Fault.FAILED_BEFORE)
    async with gemini(simulator) as client:

        async def ask() -> Any:
            return await client.models.generate_content(model="m", contents="x", config=NO_THINKING)

        assert (await ask()).prompt_feedback.block_reason is types.BlockedReason.SAFETY
        codes = []
        for _ in range(3):
            with pytest.raises(errors.APIError) as failure:
                await ask()
            codes.append((failure.value.code, failure.value.status))
    assert codes == [(429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE"), (500, "INTERNAL")]


def status_of(failure: pytest.ExceptionInfo[ApiError]) -> tuple[int | None, str]:
    return failure.value.status_code, failure.value.body["detail"]["status"]


async def test_never_more_voices_than_the_plan_has_slots(
    vendor: AsyncElevenLabs, simulator: Simulator
) -> None:
    await simulator.reset(slots=3)
    outcomes = await asyncio.gather(*(made(vendor, str(n)) for n in range(10)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
    assert len(refused) == 7
    assert {(one.status_code, one.body["detail"]["status"]) for one in refused} == {
        (400, "voice_limit_reached")
    }
    audit = await simulator.audit()
    assert (audit["most_voices_at_once"], audit["adds_used_this_cycle"]) == (3, 3)


async def test_deleting_gives_back_the_slot_and_never_the_add(
    vendor: AsyncElevenLabs, simulator: Simulator
) -> None:
    await simulator.reset(slots=1, adds=3)
    for _ in range(3):
        await vendor.voices.delete(await made(vendor))
    with pytest.raises(ApiError) as failure:
        await made(vendor)
    assert status_of(failure) == (403, "voice_add_edit_limit_reached")
    await simulator.advance(31 * 86_400)
    assert await made(vendor)
    audit = await simulator.audit()
    assert (audit["adds"], audit["deletes"], audit["adds_used_this_cycle"]) == (4, 3, 1)


@pytest.mark.parametrize(("counted", "spent"), [(True, 2), (False, 1)])
async def test_a_rename_spends_the_same_budget_or_not(
    vendor: AsyncElevenLabs, simulator: Simulator, counted: bool, spent: int
) -> None:
    await simulator.reset(edits_spend_budget=counted)
    await vendor.voices.update(await made(vendor), name="another")
    assert (await simulator.audit())["adds_used_this_cycle"] == spent


async def test_the_vendors_own_voices_take_no_slot_and_stay(vendor: AsyncElevenLabs) -> None:
    premade = [voice for voice in (await vendor.voices.get_all()).voices if voice.category == "premade"]
    assert premade
    with pytest.raises(ApiError):
        await vendor.voices.delete(premade[0].voice_id)
    assert (await vendor.user.subscription.get()).voice_slots_used == 0


async def test_what_is_not_there_or_too_much_is_refused_by_status(
    vendor: AsyncElevenLabs, simulator: Simulator
) -> None:
    await simulator.reset(characters=100)
    voice_id = await made(vendor)

    async def say(text: str, voice_id: str = voice_id, model: str = MULTILINGUAL) -> None:
        async for _ in vendor.text_to_speech.stream(voice_id, text=text, model_id=model):
            pass

    for call, expected in (
        (lambda: say("x", "nobody"), (404, "voice_not_found")),
        (lambda: say("x" * 101), (401, "quota_exceeded")),
        (lambda: say("x" * 10_001), (400, "max_character_limit_exceeded")),
        (lambda: say("x", model="none"), (400, "model_not_found")),
        (lambda: vendor.voices.delete("nobody"), (404, "voice_not_found")),
        (lambda: vendor.voices.update("nobody", name="x"), (400, "voice_not_found")),
    ):
        with pytest.raises(ApiError) as failure:
            await call()
        assert status_of(failure) == expected


async def test_a_wrong_key_is_refused(vendor: AsyncElevenLabs, simulator: Simulator) -> None:
    await simulator.reset(key="another")
    with pytest.raises(ApiError) as failure:
        await vendor.user.subscription.get()
    assert status_of(failure) == (401, "invalid_api_key")


async def test_no_more_run_at_once_than_the_plan_allows_and_a_hang_up_frees_the_seat(
    http: httpx.AsyncClient, vendor: AsyncElevenLabs, simulator: Simulator
) -> None:
    await simulator.reset(concurrent=2, slots=30)
    voice_id = await made(vendor)
    path, body = f"/v1/text-to-speech/{voice_id}/stream", {"text": "x" * 4000, "model_id": MULTILINGUAL}
    # More than socket buffers hold, so that it goes on until somebody reads or leaves.
    query = {"output_format": "pcm_44100"}
    async with (
        http.stream("POST", path, json=body, params=query) as one,
        http.stream("POST", path, json=body, params=query) as two,
    ):
        third = await http.post(path, json=body, params=query)
        assert (one.status_code, two.status_code, third.status_code) == (200, 200, 429)
        assert third.json()["detail"]["status"] == "too_many_concurrent_requests"
        fast = await http.post(path, json={"text": "x", "model_id": FLASH})
        assert fast.status_code == 200
    async with asyncio.timeout(5):
        while (await simulator.audit())["speaking_now"]:
            pass
    assert (await simulator.audit())["most_speaking_at_once"] == 2


async def test_too_many_requests_in_a_second_are_turned_away(
    http: httpx.AsyncClient, simulator: Simulator
) -> None:
    await simulator.reset(requests_per_second=5)
    answers = await asyncio.gather(*(http.get("/v1/user/subscription") for _ in range(30)))
    busy = [answer for answer in answers if answer.status_code == 429]
    assert busy
    assert {answer.json()["detail"]["status"] for answer in busy} == {"system_busy"}


ADD: dict[str, Any] = {"data": {"name": "anna"}, "files": {"files": ("a.mp3", b"speech", "audio/mpeg")}}


@pytest.mark.parametrize(
    ("fault", "outcome", "voices"),
    [
        (Fault.TIMEOUT_BEFORE, httpx.ReadTimeout, 0),
        (Fault.TIMEOUT_AFTER, httpx.ReadTimeout, 1),
        (Fault.CONCURRENT, 429, 0),
        (Fault.BUSY, 429, 0),
        (Fault.FAILED_BEFORE, 500, 0),
        (Fault.FAILED_AFTER, 500, 1),
        (Fault.SLOW_BODY, 200, 1),
        (Fault.DROPPED, httpx.RemoteProtocolError, 1),
        (Fault.GARBAGE, 200, 1),
    ],
)
async def test_each_fault_is_what_it_says(
    http: httpx.AsyncClient,
    simulator: Simulator,
    fault: Fault,
    outcome: int | type[httpx.HTTPError],
    voices: int,
) -> None:
    await simulator.ask_for("add", fault)
    if isinstance(outcome, int):
        assert (await http.post("/v1/voices/add", **ADD)).status_code == outcome
    else:
        with pytest.raises(outcome):
            await http.post("/v1/voices/add", **ADD, timeout=0.5)
    audit = await simulator.audit()
    assert (audit["voices_now"], audit["faults"]) == (voices, {f"add:{fault}": 1})
    # The next request is well.
    assert (await http.post("/v1/voices/add", **ADD)).json()["voice_id"]


def test_a_seed_repeats_its_faults_in_whatever_order_operations_come() -> None:
    def plan() -> FaultPlan:
        return FaultPlan(Chance(7), 0.3)

    one, other = plan(), plan()
    adds = [one.draw("add") for _ in range(200)]
    deletes = [one.draw("delete") for _ in range(200)]
    turned = [(other.draw("delete"), other.draw("add")) for _ in range(200)]
    assert ([add for _, add in turned], [delete for delete, _ in turned]) == (adds, deletes)
    met = [fault for fault in adds if fault]
    assert 30 < len(met) < 90
    assert set(met) > {Fault.TIMEOUT_AFTER, Fault.DROPPED, Fault.GARBAGE}
    assert adds != deletes


async def test_a_reset_begins_anew_with_what_it_is_told(
    vendor: AsyncElevenLabs, simulator: Simulator, http: httpx.AsyncClient
) -> None:
    first = await made(vendor)
    await simulator.reset(plan="pro", seed=3)
    audit = await simulator.audit()
    assert (audit["voices_now"], audit["adds"], audit["effects"]) == (0, 0, [])
    assert (await vendor.user.subscription.get()).voice_limit == 160
    assert await made(vendor) != first
    assert (await http.post("/_sim/reset", json={"plan": "none"})).status_code == 400
    assert (await http.post("/_sim/faults", json={"add": ["none"]})).status_code == 400


async def test_what_was_asked_for_before_a_reset_does_not_happen_after_it(
    vendor: AsyncElevenLabs, simulator: Simulator
) -> None:
    """Whoever was killed with a request under way would reach into the next run."""
    await simulator.reset(latency=0.2)
    late = asyncio.create_task(made(vendor))
    async with asyncio.timeout(10):
        while not (await simulator.audit())["requests"].get("add"):
            pass
    await simulator.reset(latency=0.0)
    with pytest.raises(httpx.TransportError):
        await late
    assert (await simulator.audit())["effects"] == []


async def test_waits_are_as_long_as_the_vendors_times_the_latency(
    vendor: AsyncElevenLabs, simulator: Simulator
) -> None:
    """At a hundredth, an add takes about 30 ms; without, nothing waits."""
    loop = asyncio.get_running_loop()

    async def median(adds: int) -> float:
        spans = []
        for _ in range(adds):
            begun = loop.time()
            await vendor.voices.delete(await made(vendor))
            spans.append(loop.time() - begun)
        return sorted(spans)[adds // 2]

    at_once = await median(7)
    await simulator.reset(latency=0.02)
    assert await median(7) > at_once + 0.02


async def test_it_runs_as_a_program_with_the_plan_it_is_given(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--plan", "starter", "--slots", "1", "--seed", "9", "--latency", "0", "--key", "k")
    process = await Process.start(spec(port, *arguments), tmp_path, ROOT)
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            vendor = AsyncElevenLabs(base_url=f"http://127.0.0.1:{port}", api_key="k", httpx_client=client)
            await made(vendor)
            with pytest.raises(ApiError) as failure:
                await made(vendor)
            assert status_of(failure) == (400, "voice_limit_reached")
    finally:
        await process.stop()
