"""`newvisions doctor` as its user runs it: all is well, or what is wrong is named with a way to mend it."""

import asyncio
import base64
import json
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from dev import embedded
from dev.doctor.indexes import EXPECTED
from dev.ports import free_port
from dev.process import Process
from dev.project import PYTHONPATH, ROOT, python
from dev.services import DATABASES
from dev.simulator.options import Options
from dev.simulator.serving import running
from dev.stack import Stack
from services.kernel.schema import COLLECTION, Keeper
from services.voice.schema import SCHEMA

KEY = "a-key-that-nobody-prints"
SECONDS = 90


@dataclass(frozen=True)
class Report:
    code: int
    text: str

    def states(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for each in json.loads(self.text)["findings"]:
            found.setdefault(each["what"], set()).add(each["state"])
        return found

    def failed(self) -> dict[str, dict[str, str]]:
        return {each["what"]: each for each in json.loads(self.text)["findings"] if each["state"] == "failed"}


async def doctor(
    *arguments: str,
    prepare: Callable[[], None] | None = None,
    wrapper: tuple[str, ...] = (),
    variables: Mapping[str, str] | None = None,
) -> Report:
    """With nothing in its environment but these variables."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        *(*wrapper, *python("dev.doctor", *arguments)),
        env={**inherited, **PYTHONPATH, **(variables or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=prepare,
    )
    async with asyncio.timeout(SECONDS):
        said, _ = await child.communicate()
    assert child.returncode is not None
    return Report(child.returncode, said.decode())


@pytest.fixture
def voice(mongo_url: str, valkey_url: str, tmp_path: Path) -> dict[str, str]:
    """All that the voice service needs, in an environment."""
    key_file = tmp_path / "voice.key"
    key_file.write_bytes(base64.b64encode(bytes(32)))
    key_file.chmod(0o600)
    return {
        "VOICE_MONGO_URL": mongo_url,
        "VOICE_MONGO_DATABASE": f"doctor_{uuid4().hex[:12]}",
        "VOICE_VALKEY_URL": valkey_url,
        "VOICE_BLOB_URL": (tmp_path / "blobs").as_uri(),
        "VOICE_KEY_FILE": str(key_file),
    }


@asynccontextmanager
async def database(variables: dict[str, str]) -> AsyncIterator[Any]:
    async with AsyncMongoClient[dict[str, Any]](variables["VOICE_MONGO_URL"]) as mongo:
        yield mongo[variables["VOICE_MONGO_DATABASE"]]


@pytest.mark.slow
async def test_all_of_a_stack_that_runs_is_well_and_every_index_is_known(tmp_path: Path) -> None:
    data = tmp_path / "data dir"
    async with Stack(data, engine="tone") as stack:
        report = await doctor("--json", "--data-dir", str(data))
        async with AsyncMongoClient[dict[str, Any]](stack.settings["AUTH_MONGO_URL"]) as mongo:
            names = {service: stack.settings.get(DATABASES[service], service) for service in EXPECTED}
            there = {service: await indexes(mongo[name]) for service, name in names.items()}
    assert report.code == 0, report.text
    states = report.states()
    assert set().union(*states.values()) <= {"ok", "skipped", "warning"}
    # How much room this machine has is not the stack's doing.
    unwell = {what for what, found in states.items() if "warning" in found}
    assert all(what.startswith("disk") for what in unwell), report.text
    for service in ("auth", "voice", "content", "synthesis", "perform"):
        assert any(what.startswith(f"service {service} ") for what in states)
    assert any(what.startswith("gateway (http://127.0.0.1:") for what in states)
    assert there == {service: dict(expected) for service, expected in EXPECTED.items()}


async def indexes(kept: Any) -> dict[str, frozenset[str]]:
    """Of the collections that have some of their own."""
    found = {
        name: frozenset({index["name"] async for index in await kept[name].list_indexes()} - {"_id_"})
        for name in await kept.list_collection_names()
    }
    return {name: names for name, names in found.items() if names}


async def test_a_folder_without_a_stack_is_said(tmp_path: Path) -> None:
    report = await doctor("--data-dir", str(tmp_path))
    assert (report.code, "no stack runs on" in report.text) == (2, True)


async def test_each_finding_is_a_line_and_nothing_is_left_behind(
    voice: dict[str, str], tmp_path: Path
) -> None:
    async with database(voice) as kept:
        await Keeper(kept, SCHEMA).migrate()
        report = await doctor("--environment", variables=voice)
        names = await kept.list_collection_names()
    assert report.code == 0, report.text
    lines = report.text.splitlines()
    assert "ok       indexes (voice): all 8 are there." in lines
    assert f"ok       documents (voice): form {SCHEMA.version}, as this release needs." in lines
    assert {line.split()[0] for line in lines if "disk" not in line} <= {"ok", "skipped"}
    assert sorted(names) == ["answers", "schema_migrations", "voices"]
    assert not list((tmp_path / "blobs").iterdir())


async def test_an_index_that_is_missing_is_named(voice: dict[str, str]) -> None:
    async with database(voice) as kept:
        await Keeper(kept, SCHEMA).migrate()
        await kept["voices"].drop_index("voices_to_sweep")
    report = await doctor("--environment", "--json", variables=voice)
    assert report.code == 1
    assert report.failed()["indexes (voice)"]["said"] == "missing: voices.voices_to_sweep"


@pytest.mark.parametrize(
    ("version", "fix"),
    [(SCHEMA.version - 1, "run `newvisions migrate voice`"), (SCHEMA.version + 1, "start the newer release")],
)
async def test_documents_of_another_release_are_told(voice: dict[str, str], version: int, fix: str) -> None:
    async with database(voice) as kept:
        await Keeper(kept, SCHEMA).migrate()
        await kept[COLLECTION].update_one({}, {"$set": {"version": version}})
    report = await doctor("--environment", "--json", variables=voice)
    assert report.code == 1
    (found,) = report.failed().values()
    assert (found["what"], f"form {version}" in found["said"]) == ("documents (voice)", True)
    assert found["fix"].startswith(fix)


async def test_a_database_that_stopped_is_told_and_so_are_writes_that_are_not_on_disk(
    voice: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    server = await Process.start(embedded.mongo(port, tmp_path), tmp_path, ROOT)
    hasty = {**voice, "VOICE_MONGO_URL": f"mongodb://127.0.0.1:{port}/?w=1"}
    try:
        loose = await doctor("--environment", "--json", variables=hasty)
    finally:
        await server.stop()
    assert "journal=true" in loose.failed()["database (voice)"]["fix"]
    report = await doctor("--environment", "--json", variables=hasty)
    assert report.code == 1
    assert set(report.failed()) == {"database (voice)"}
    assert "does not answer" in report.failed()["database (voice)"]["said"]
    assert "VOICE_MONGO_URL" in report.failed()["database (voice)"]["fix"]


async def test_the_provider_says_whether_the_key_is_good_and_nothing_is_spent(
    voice: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "elevenlabs.key"
    file.write_text(KEY)
    async with running(Options(key=KEY, latency=0)) as simulator:
        variables = {
            **voice,
            "VOICE_PROVIDER": "elevenlabs",
            "VOICE_ELEVENLABS_API_KEY_FILE": str(file),
            "VOICE_ELEVENLABS_BASE_URL": simulator.url,
        }
        good = await doctor("--environment", "--json", variables=variables)
        file.write_text(f"{KEY}-not")
        wrong = await doctor("--environment", "--json", variables=variables)
        audit = await simulator.audit()
    assert good.code == 0, good.text
    assert good.states()["ElevenLabs key (voice)"] == {"ok"}
    assert good.states()["clock (ElevenLabs)"] == {"ok"}
    assert wrong.code == 1
    assert "refuses it (401)" in wrong.failed()["ElevenLabs key (voice)"]["said"]
    assert KEY not in good.text + wrong.text
    assert set(audit["requests"]) == {"subscription"}


@asynccontextmanager
async def answering(head: str, body: str) -> AsyncIterator[int]:
    """A provider that says the same to everybody; the port it listens on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {head}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_gemini_refuses_a_key_its_own_way_and_its_date_shows_a_wrong_clock(valkey_url: str) -> None:
    past = "400 Bad Request\r\ndate: Tue, 01 Jun 2021 10:00:00 GMT"
    async with answering(past, '{"error": {"message": "API key not valid."}}') as port:
        content = {
            "CONTENT_VALKEY_URL": valkey_url,
            "CONTENT_GEMINI_API_KEY": KEY,
            "CONTENT_GEMINI_BASE_URL": f"http://127.0.0.1:{port}",
        }
        report = await doctor("--environment", "--json", variables=content)
    assert set(report.failed()) == {"Gemini key (content)", "clock (Gemini)"}
    assert "ahead of it" in report.failed()["clock (Gemini)"]["said"]
    assert KEY not in report.text


def _no_room() -> None:
    """As on a full disk: no file may have a byte."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


async def test_a_blob_store_without_room_is_told(voice: dict[str, str]) -> None:
    report = await doctor("--environment", "--json", prepare=_no_room, variables=voice)
    assert report.code == 1
    assert "VOICE_BLOB_URL" in report.failed()["blob store (voice)"]["fix"]


async def test_a_blob_store_that_may_not_be_written_is_told(voice: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    folder.mkdir(mode=0o555)
    # Who may do everything may also write there.
    powerless = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()
    assert not powerless or shutil.which(powerless[0]), "as root, this test needs util-linux"
    report = await doctor("--environment", "--json", wrapper=powerless, variables=voice)
    assert report.code == 1
    assert set(report.failed()) == {"blob store (voice)"}


async def test_wrong_settings_and_open_key_files_are_findings(voice: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "voice.key").chmod(0o644)
    open_key = await doctor("--environment", "--json", variables=voice)
    assert open_key.states()["key file (voice)"] == {"warning"}
    wrong = await doctor("--environment", variables={**voice, "VOICE_SAMPLE_WORKERS": "hunter2"})
    assert wrong.code == 1
    assert "failed   settings: setting VOICE_SAMPLE_WORKERS" in wrong.text
    assert "hunter2" not in wrong.text
