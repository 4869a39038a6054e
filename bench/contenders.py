"""The sides that bench.compare runs: ours in one process and in many, and the application of bench/baseline.

Each has a database server and a provider of its own, the same programs with the same settings. Two sides
at one provider would take each other's voices for orphans.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from bench.baseline.running import spec as baseline_spec
from bench.process_tree import Needs, needs_below
from dev import embedded
from dev.performer import Performer, accepted
from dev.ports import free_port
from dev.process import Process
from dev.project import ROOT
from dev.services import Provider
from dev.simulator.serving import spec as simulator_spec
from dev.stack import Stack

OURS = ("one", "many")
SIDES = (*OURS, "baseline")
_SAMPLE = ROOT / "demo" / "two-cities.mp3"
_KEY = "a key of the account's owner"
_MONTHLY_LIMIT = "10000000"
# As a plan for many users has them.
_PROVIDER = ("--plan", "scale", "--key", _KEY)
_SEATS = "30"
# Uploads are examined by the processor: more at once take no less time.
_UPLOADS_AT_ONCE = 2
_UPLOAD_ATTEMPTS = 10
_METHODS = {
    "newvisions.synthesis.v1.SynthesisService.Synthesize": "speaking",
    "newvisions.synthesis.v1.SynthesisService.SynthesizeAsWritten": "speaking",
    "newvisions.content.v1.ContentService.ComposeNote": "composing",
    "newvisions.content.v1.ContentService.StreamNote": "composing",
}
# When it began, and when it ended.
Span = tuple[float, float]


@dataclass(frozen=True)
class Parts:
    """Seconds of one performance that went into other things than our own."""

    speaking: float = 0.0
    composing: float = 0.0


@dataclass
class Side:
    name: str
    url: str
    # Of its processes, and of its provider.
    logs: Path
    codes: Iterable[str]
    # Where each of its services' processes tells its metrics.
    metrics: Mapping[str, str] = field(default_factory=dict)
    performers: list[Performer] = field(default_factory=list)

    async def sign_up(self, size: int, entered: AsyncExitStack) -> None:
        """So many users, each with a voice of their own."""
        uploads = asyncio.Semaphore(_UPLOADS_AT_ONCE)

        async def one(code: str) -> Performer:
            async with uploads:
                performer = await entered.enter_async_context(Performer.signed_up(self.url, code))
                await _give_a_sample(performer)
                return performer

        self.performers = await asyncio.gather(*map(one, islice(self.codes, size)))

    def needs(self) -> dict[str, Needs]:
        return needs_below(self.logs)

    def parts(self) -> dict[str, Parts]:
        """By request, as its own log has them."""
        if self.name == "baseline":
            return _parts_of_baseline(self.logs / "baseline.log")
        found: dict[str, dict[str, Span]] = {}
        for log in self.logs.glob("*.log"):
            for row in log.read_text().splitlines():
                if not row.startswith("{") or not any(method in row for method in _METHODS):
                    continue
                event = json.loads(row)
                if part := _METHODS.get(event.get("method", "")):
                    found.setdefault(event["request_id"], {})[part] = _span(event)
        return {request: _parts_in(spans) for request, spans in found.items() if "speaking" in spans}


async def _give_a_sample(performer: Performer) -> None:
    """Asked again when a busy machine did not examine it in time: signing up is not what is measured."""
    for _ in range(_UPLOAD_ATTEMPTS - 1):
        if (await performer.upload(_SAMPLE.read_bytes())).status_code not in {503, 504}:
            return
    accepted(await performer.upload(_SAMPLE.read_bytes()))


def _span(event: Mapping[str, Any]) -> Span:
    ended = datetime.fromisoformat(event["timestamp"]).timestamp()
    return ended - event["seconds"], ended


def _parts_in(spans: Mapping[str, Span]) -> Parts:
    """What is written while the first sentence is spoken counts as speaking."""
    began, ended = spans["speaking"]
    composed = spans.get("composing", (began, began))
    return Parts(ended - began, max(0.0, min(composed[1], began) - composed[0]))


def _parts_of_baseline(log: Path) -> dict[str, Parts]:
    events = (json.loads(row) for row in log.read_text().splitlines() if row.startswith("{"))
    return {
        event["recording_id"]: Parts(event["speaking_seconds"], event["composing_seconds"])
        for event in events
        if event["event"] == "performed"
    }


@asynccontextmanager
async def running(
    name: str, data: Path, *, latency: float, flush: bool, more: Mapping[str, str] | None = None
) -> AsyncIterator[Side]:
    """One of SIDES, with everything that it needs, and `more` in its environment.

    With `flush`, writes are on disk before they are answered.
    """
    port, logs = free_port(), _logs(data)
    provider = await Process.start(simulator_spec(port, *_PROVIDER, "--latency", str(latency)), logs, ROOT)
    try:
        opened = _baseline if name == "baseline" else partial(_ours, name)
        async with opened(data, port, flush, more or {}) as side:
            yield side
    finally:
        await provider.stop()


def _logs(data: Path) -> Path:
    logs = data / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    return logs


def _at(url: str, flush: bool) -> str:
    return url if flush else url.replace("journal=true", "journal=false")


@asynccontextmanager
async def _ours(
    name: str, data: Path, provider_port: int, flush: bool, more: Mapping[str, str]
) -> AsyncIterator[Side]:
    key, url = data / "provider.key", f"http://127.0.0.1:{provider_port}"
    key.write_text(_KEY)
    environment = {
        "AUTH_MONTHLY_LIMIT": _MONTHLY_LIMIT,
        "AUTH_ACCESS_TOKEN_SECONDS": "3600",
        "CONTENT_MODELS": "gemini",
        "CONTENT_GEMINI_API_KEY": _KEY,
        "CONTENT_GEMINI_BASE_URL": url,
        **more,
    }
    stack = Stack(
        data,
        processes=name,
        engine="tone",
        limits=None,
        environment=environment,
        provider=Provider(url, key),
    )
    # Known only now: the stack chose the port.
    environment |= _urls(stack.settings, flush)
    async with stack:
        codes = iter(await stack.activation_codes(100))
        yield Side(name, stack.url, stack.logs, codes, metrics=_of_services(stack.metrics))


def _of_services(metrics: Mapping[str, str]) -> dict[str, str]:
    return {process: url for process, url in metrics.items() if process != "gateway"}


def _urls(settings: Mapping[str, str], flush: bool) -> dict[str, str]:
    return {name: _at(url, flush) for name, url in settings.items() if name.endswith("_MONGO_URL")}


@asynccontextmanager
async def _baseline(
    data: Path, provider_port: int, flush: bool, more: Mapping[str, str]
) -> AsyncIterator[Side]:
    """Nothing stands before it: it verifies its tokens by itself, and a proxy would only slow it down."""
    database, port, logs = free_port(), free_port(), _logs(data)
    settings = {
        "BASELINE_MONTHLY_LIMIT": _MONTHLY_LIMIT,
        "BASELINE_ELEVENLABS_SEATS": _SEATS,
        **more,
    }
    async with AsyncExitStack() as stack:
        mongo = await Process.start(embedded.mongo(database, data), logs, ROOT)
        stack.push_async_callback(mongo.stop)
        url = _at(embedded.mongo_url(database), flush)
        application = baseline_spec(port, url, data, f"http://127.0.0.1:{provider_port}", settings)
        process = await Process.start(application, logs, ROOT)
        stack.push_async_callback(process.stop)
        yield Side("baseline", f"http://127.0.0.1:{port}", logs, repeat("no code is asked for"))
