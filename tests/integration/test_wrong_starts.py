"""What a setting names is not there, or is no good: the start ends with one line, without a traceback."""

import asyncio
import base64
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from dev.ports import free_port
from dev.project import PYTHONPATH, python

SECRET = "hunter2"
# A start that goes well is cut off before.
SECONDS = 40
Start = tuple[str, str, str]

# What is written in braces is filled in by the house.
BAD_FILES = ("{nowhere}", "{folder}", "{garbage}", "{empty}")
AWAY = ("mongodb://ada:{secret}@127.0.0.1:{nobody}/",)
STORES = ("{garbage_store}", "az://{secret}", "file:///proc/nowhere")
TABLE: list[Start] = [
    *(
        ("auth", f"AUTH_{name}", file)
        for name in ("KEY_FILE", "PLANS_FILE", "COST_FACTORS_FILE", "BREACHED_PASSWORDS_FILE")
        for file in BAD_FILES
    ),
    *(("auth", "AUTH_MONGO_URL", url) for url in AWAY),
    ("auth", "AUTH_MONGO_URL", "mongodb://127.0.0.1/?tls=perhaps"),
    ("auth", "AUTH_VOICE_ADDRESS", ""),
    *(("voice", "VOICE_KEY_FILE", file) for file in BAD_FILES),
    *(("voice", "VOICE_ELEVENLABS_API_KEY_FILE", file) for file in BAD_FILES),
    *(("voice", "VOICE_MONGO_URL", url) for url in AWAY),
    *(("voice", "VOICE_BLOB_URL", url) for url in STORES),
    ("voice", "VOICE_SYNTHESIS_ADDRESS", ""),
    *(("content", "CONTENT_GEMINI_API_KEY_FILE", file) for file in BAD_FILES),
    *(("content", "CONTENT_OPENAI_API_KEY_FILE", file) for file in BAD_FILES),
    ("content", "CONTENT_GEMINI_API_KEY", "{secret}\nx"),
    ("content", "CONTENT_VALKEY_URL", "redis://:{secret}@127.0.0.1:{nobody}"),
    ("content", "CONTENT_MODELS", "gemini"),
    ("content", "CONTENT_AUTH_ADDRESS", ""),
    ("content", "SERVER_ADDRESS", "203.0.113.7:80"),
    ("content", "SERVER_HEALTH_ADDRESS", "203.0.113.7:80"),
    ("content", "SERVER_METRICS_PORT", "{taken}"),
    ("content", "TLS_AUTHORITY_FILE", "{nowhere}"),
    ("content", "TLS_CERTIFICATE_FILE", "{garbage}"),
    ("content", "OTEL_EXPORTER_OTLP_ENDPOINT", "{secret}"),
    ("content", "OTEL_EXPORTER_OTLP_TIMEOUT", "{secret}"),
    *(("synthesis", "SYNTHESIS_ELEVENLABS_API_KEY_FILE", file) for file in BAD_FILES),
    ("synthesis", "SYNTHESIS_ENGINES", "no-such-engine"),
    ("synthesis", "SYNTHESIS_ENGINES", ""),
    ("synthesis", "SYNTHESIS_ENGINES", "os:getcwd"),
    ("synthesis", "SYNTHESIS_WATERMARK", "nowhere:Mark"),
    ("synthesis", "SYNTHESIS_WATERMARK", "os:getcwd"),
    *(("perform", "PERFORM_MONGO_URL", url) for url in AWAY),
    *(("perform", "PERFORM_BLOB_URL", url) for url in STORES),
    ("perform", "PERFORM_VOICE_ADDRESS", ""),
]


class House:
    """All that services need to start, and one process for each of them that is told to try it."""

    def __init__(self, directory: Path, mongo_url: str, valkey_url: str) -> None:
        self._stores = {"MONGO_URL": mongo_url, "VALKEY_URL": valkey_url}
        self._key, self._api_key = directory / "key", directory / "api_key"
        self._key.write_text(base64.b64encode(os.urandom(32)).decode())
        self._api_key.write_text(SECRET)
        garbage, empty = directory / "garbage", directory / "empty"
        garbage.write_bytes(b"\xff\xfe" + SECRET.encode())
        empty.touch()
        self._blobs = f"file://{directory}/blobs"
        self._words = {
            "nowhere": directory / "nowhere",
            "folder": directory,
            "garbage": garbage,
            "garbage_store": f"file://{garbage}/below",
            "empty": empty,
            "secret": SECRET,
            "nobody": free_port(),
            "taken": valkey_url.rpartition(":")[2].partition("/")[0],
        }
        self._children: dict[str, Process] = {}
        self.cleanup = AsyncExitStack()

    def environment(self, service: str, variable: str, value: str) -> dict[str, str]:
        given = {f"{service.upper()}_{name}": text for name, text in self._needed(service, variable).items()}
        tls = {f"TLS_{name}_FILE": str(self._key) for name in ("CERTIFICATE", "KEY", "AUTHORITY")}
        traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_SAMPLER": "traceidratio"}
        return {
            "SERVER_ADDRESS": "127.0.0.1:0",
            **given,
            **(tls if variable.startswith("TLS_") else {}),
            **(traces if variable.startswith("OTEL_") else {}),
            variable: value.format_map(self._words),
        }

    def _needed(self, service: str, variable: str) -> Mapping[str, str]:
        peers = {
            f"{name}_ADDRESS": "127.0.0.1:9" for name in ("AUTH", "VOICE", "CONTENT", "SYNTHESIS", "PERFORM")
        }
        everybodys = {"BLOB_URL": self._blobs, "KEY_FILE": str(self._key), **self._stores, **peers}
        if service == "voice":
            return {**everybodys, "PROVIDER": "elevenlabs", "ELEVENLABS_API_KEY_FILE": str(self._api_key)}
        if "OPENAI" in variable:
            return {**everybodys, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_MODEL": "any"}
        if "ELEVENLABS" in variable:
            return {**everybodys, "ENGINES": "elevenlabs"}
        return everybodys

    async def started(self, service: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """How the start ended."""
        child = await self._child(service)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(environment).encode() + b"\n")
        try:
            async with asyncio.timeout(SECONDS):
                return dict(json.loads(await child.stdout.readline()))
        except BaseException:
            del self._children[service]
            child.kill()
            raise

    async def _child(self, service: str) -> Process:
        if service not in self._children:
            inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            self._children[service] = child = await asyncio.create_subprocess_exec(
                *python("tests.integration.starts", service),
                stdin=PIPE,
                stdout=PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**inherited, **PYTHONPATH},
                limit=1 << 20,
            )
            self.cleanup.push_async_callback(_end, child)
        return self._children[service]


async def _end(child: Process) -> None:
    """Its input ends, and so does it."""
    assert child.stdin is not None
    child.stdin.close()
    await child.communicate()


@pytest.fixture(scope="module")
async def house(
    tmp_path_factory: pytest.TempPathFactory, mongo_url: str, valkey_url: str
) -> AsyncIterator[House]:
    stage = House(tmp_path_factory.mktemp("starts"), mongo_url, valkey_url)
    async with stage.cleanup:
        yield stage


@pytest.mark.parametrize(("service", "variable", "value"), TABLE, ids=lambda part: part.replace("/", "_"))
async def test_what_a_setting_names_is_no_good_and_one_line_says_so(
    house: House, service: str, variable: str, value: str
) -> None:
    ended = await house.started(service, house.environment(service, variable, value))
    assert ended["traceback"] == ""
    (line,) = ended["said"].splitlines()
    # One of a service's own, or of the group that it belongs to.
    assert line.startswith("setting")
    assert any(
        name in line for name in (variable, variable.partition("_")[2], variable.removesuffix("TIMEOUT"))
    )
    assert SECRET not in line
