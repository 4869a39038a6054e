"""What we know when ElevenLabs fails at a clone: made, not made, or not known."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dev.ports import free_port
from dev.simulator.faults import Fault
from dev.simulator.remote import Simulator
from services.kernel.errors import ServiceError
from services.kernel.settings import SettingUnusable
from services.synthesis.engines.elevenlabs import ElevenLabsEngine
from services.voice.ports import (
    CloneOutcomeUnknown,
    DiscardOutcomeUnknown,
    ProviderBusy,
    ProviderRefusedUs,
    ProviderUnavailable,
)
from services.voice.providers.elevenlabs import ElevenLabsProvider, open_elevenlabs
from tests.contract.elevenlabs import IMPATIENT, KEY, clone, settings

UNKNOWN = [Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER, Fault.FAILED_BEFORE, Fault.FAILED_AFTER, Fault.DROPPED]


@pytest.mark.parametrize("fault", [*UNKNOWN, Fault.GARBAGE])
async def test_a_clone_whose_answer_is_lost_is_unknown_and_never_asked_for_twice(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    await simulator.ask_for("add", fault)
    with pytest.raises(CloneOutcomeUnknown):
        await clone(provider, attempt_id="lost")
    audit = await simulator.audit()
    assert audit["requests"]["add"] == 1
    # Where it was made after all, its label tells.
    found = [voice.attempt_id for voice in await provider.held()]
    assert found == (["lost"] if audit["adds"] else [])


@pytest.mark.parametrize("fault", [Fault.CONCURRENT, Fault.BUSY])
async def test_a_busy_provider_is_not_asked_for_the_clone_again(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    await simulator.ask_for("add", fault)
    with pytest.raises(ProviderBusy):
        await clone(provider)
    audit = await simulator.audit()
    assert (audit["requests"]["add"], audit["adds"]) == (1, 0)


async def test_a_slow_answer_is_still_an_answer(provider: ElevenLabsProvider, simulator: Simulator) -> None:
    await simulator.ask_for("add", Fault.SLOW_BODY)
    assert await clone(provider)


RETRIED = [Fault.CONCURRENT, Fault.BUSY, *UNKNOWN, Fault.GARBAGE]


@pytest.mark.parametrize("fault", RETRIED)
async def test_a_discard_is_asked_for_until_it_is_done(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    voice_id = await clone(provider)
    await simulator.ask_for("delete", fault)
    await provider.discard(voice_id)
    audit = await simulator.audit()
    assert (audit["voices_now"], audit["deletes"], audit["requests"]["delete"]) == (0, 1, 2)


async def test_a_discard_that_is_never_answered_is_unknown(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    voice_id = await clone(provider)
    await simulator.ask_for("delete", Fault.TIMEOUT_BEFORE, Fault.BUSY, Fault.BUSY)
    with pytest.raises(DiscardOutcomeUnknown):
        await provider.discard(voice_id)
    await simulator.ask_for("delete", Fault.BUSY, Fault.BUSY, Fault.BUSY)
    with pytest.raises(ProviderBusy):
        await provider.discard(voice_id)
    assert (await simulator.audit())["requests"]["delete"] == 6


@asynccontextmanager
async def answering(*statuses: int) -> AsyncIterator[str]:
    """A provider that answers with these, one a request."""
    left = iter(statuses)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d .\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % next(left))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("statuses", "told"), [((500, 403), DiscardOutcomeUnknown), ((403,), ProviderRefusedUs)]
)
async def test_a_discard_that_is_refused_after_its_answer_was_lost_is_unknown(
    key_file: Path, statuses: tuple[int, ...], told: type[ServiceError]
) -> None:
    async with answering(*statuses) as url, open_elevenlabs(url, key_file) as provider:
        with pytest.raises(told):
            await provider.discard("abc")


async def test_a_silent_provider_is_given_up_on_in_time(
    provider: ElevenLabsProvider, simulator: Simulator, key_file: Path
) -> None:
    await simulator.reset(hang_seconds=60.0)
    voice_id = await clone(provider)
    await simulator.ask_for("add", Fault.TIMEOUT_AFTER)
    await simulator.ask_for("delete", *[Fault.TIMEOUT_BEFORE] * 3)
    short: dict[str, Any] = {"seconds": IMPATIENT, "clone_seconds": IMPATIENT}
    async with asyncio.timeout(20), open_elevenlabs(simulator.url, key_file, **short) as impatient:
        with pytest.raises(CloneOutcomeUnknown):
            await clone(impatient)
        with pytest.raises(DiscardOutcomeUnknown):
            await impatient.discard(voice_id)


@pytest.mark.parametrize("fault", RETRIED)
async def test_reading_is_tried_again(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    await simulator.ask_for("list", fault)
    await simulator.ask_for("subscription", fault)
    assert await provider.held() == []
    assert (await provider.allowance()).places == 30


@pytest.mark.parametrize("fault", [Fault.FAILED_AFTER, Fault.DROPPED, Fault.GARBAGE])
async def test_a_rename_is_asked_for_once_because_each_may_cost(
    provider: ElevenLabsProvider, simulator: Simulator, fault: Fault
) -> None:
    voice_id = await clone(provider)
    await simulator.ask_for("edit", fault)
    with pytest.raises(ProviderUnavailable):
        await provider.rename(voice_id, voice_id)
    assert (await simulator.audit())["requests"]["edit"] == 1


async def test_a_provider_that_is_not_there_has_done_nothing(key_file: Path) -> None:
    async with open_elevenlabs(f"http://127.0.0.1:{free_port()}", key_file) as provider:
        for call in (clone(provider), provider.discard("abc"), provider.held(), provider.allowance()):
            with pytest.raises(ProviderUnavailable):
                await call


async def test_a_refused_key_is_for_an_operator_and_never_logged(
    simulator: Simulator, provider: ElevenLabsProvider
) -> None:
    await simulator.reset(key="another")
    with capture_logs() as logs, pytest.raises(ProviderRefusedUs):
        await clone(provider)
    assert [event["status"] for event in logs if event["log_level"] == "error"] == ["invalid_api_key"]
    assert KEY not in str(logs)


@pytest.mark.parametrize("content", [None, "", " \n", "two\nlines", "schlüssel"])
async def test_a_file_without_a_key_is_named_and_not_shown(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingUnusable, match=str(file)) as failure:
        async with open_elevenlabs("http://127.0.0.1:1", file):
            pass
    assert not (content or "").strip() or str(content) not in str(failure.value)
    with pytest.raises(SettingUnusable, match=str(file)):
        ElevenLabsEngine(settings("http://127.0.0.1:1", file))


async def test_whatever_a_seed_brings_adds_are_told_apart(
    provider: ElevenLabsProvider, simulator: Simulator
) -> None:
    """Every clone that was made is one that we know of or one that we know we may not know of."""
    await simulator.reset(seed=11, fault_share=0.5, slots=100)
    known, unknown = set(), set()
    for number in range(40):
        attempt_id = f"a{number}"
        try:
            await clone(provider, attempt_id=attempt_id)
            known.add(attempt_id)
        except CloneOutcomeUnknown:
            unknown.add(attempt_id)
        except ServiceError:
            pass
    there = {voice["labels"]["newvisions_attempt"] for voice in (await simulator.audit())["voices"]}
    assert known <= there <= known | unknown
    assert known
    assert there - known
    assert unknown - there
