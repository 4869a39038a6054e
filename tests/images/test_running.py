"""Containers of every image, as the manifests run them: a whole performance, and an end in good order."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from dev.performer import Performer, accepted
from tests import samples
from tests.e2e.hearing import seconds
from tests.images.conftest import Stage, ready

TRIES = 6
pytestmark = pytest.mark.timeout(900)


async def test_every_pod_is_ready_under_the_limits_of_its_manifest(stage: Stage) -> None:
    for pod in stage.pods.values():
        memory = await pod.memory()
        assert memory.limit == pod.memory_limit
        told = await pod.inspected()
        assert told["Config"]["User"] == "65532:65532"
        assert told["HostConfig"]["ReadonlyRootfs"]
        assert await ready(pod)


async def test_no_container_has_a_right_or_may_get_one(stage: Stage) -> None:
    for pod in stage.pods.values():
        status = await pod.run("/opt/venv/bin/python", "-c", "print(open('/proc/1/status').read())")
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(told["CapBnd"], 16) == int(told["CapEff"], 16) == 0
        assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("shell", ["sh", "bash"])
async def test_all_of_this_is_done_without_a_shell(stage: Stage, shell: str) -> None:
    for pod in stage.pods.values():
        with pytest.raises(AssertionError, match="executable file not found"):
            await pod.run(shell, "-c", "true")


async def test_a_whole_performance_is_heard_through_the_containers(stage: Stage) -> None:
    async with Performer.signed_up(stage.url, await _code(stage)) as performer:
        await _patiently(lambda: performer.upload(samples.speech()))
        memo = await _patiently(lambda: performer.perform("Seven of Hearts"))
        assert memo["voiceSource"] == "local_clone"
        (recording,) = await performer.recordings()
        audio = await performer.http.get(f"/v1/recordings/{recording['id']}/audio")
        assert (audio.status_code, audio.headers["content-type"]) == (200, "audio/mpeg")
        assert recording["duration_seconds"] > 3
    for pod in stage.pods.values():
        assert (await pod.memory()).used < 0.8 * pod.memory_limit, pod.name


async def test_what_is_under_way_is_heard_to_its_end_when_pods_are_told_to_stop(stage: Stage) -> None:
    """The three that a stream goes through; the others must be there for what comes after the last sound."""
    through = [stage.pods[name] for name in ("gateway", "perform", "synthesis")]
    async with (
        Performer.signed_up(stage.url, await _code(stage)) as performer,
        asyncio.TaskGroup() as ending,
    ):
        await _patiently(lambda: performer.upload(samples.speech()))
        async with performer.stream("Queen of Spades") as response:
            sounds = response.aiter_bytes()
            heard = await anext(sounds)
            for pod in through:
                ending.create_task(pod.ask_to_stop())
            async for sound in sounds:
                heard += sound
        assert seconds(heard) > 3
    for pod in through:
        assert await pod.exit_code() == 0, await pod.log()


@pytest.mark.parametrize("name", ["auth", "content", "voice"])
async def test_a_pod_that_is_told_to_stop_says_so_and_exits_with_zero(stage: Stage, name: str) -> None:
    pod = stage.pods[name]
    await pod.ask_to_stop()
    assert await pod.exit_code() == 0
    assert '"event": "server_stopped"' in await pod.log()


async def _patiently(ask: Callable[[], Awaitable[httpx.Response]]) -> dict[str, Any]:
    """The first of everything waits for models and connections; if for too long, one asks again, as told."""
    for _ in range(TRIES):
        answer = await ask()
        if answer.status_code not in {503, 504}:
            break
    return accepted(answer)


async def _code(stage: Stage) -> str:
    """By the command line that the image of auth has."""
    command = ("-m", "services.auth.cli", "codes", "create", "--count", "1", "--json")
    return str(json.loads(await stage.pods["auth"].run("/opt/venv/bin/python", *command))["codes"][0])
