"""How a server finds its engines: by our names, by entry points of other packages, by import strings."""

import asyncio
import os
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from services.synthesis.engines.catalogue import BUILT_IN, GROUP, NotLoaded, engine_named
from services.synthesis.engines.local import LocalEngine
from services.synthesis.engines.tone import ToneEngine
from tests.contract import engine_example

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def install(folder: Path, package: str, entry_points: str, code: str = "") -> None:
    """As a wheel would: a module, and what the package says of itself."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(code)
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{entry_points}\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_documented_engine_is_found_in_another_package(packages: Path) -> None:
    install(packages, "hum-engine", "hum = hum_engine:HumEngine", engine_example.source())
    engine = engine_named("hum")
    assert (engine.name, type(engine).__module__) == ("hum", "hum_engine")


def test_a_name_that_two_packages_bring_is_no_name(packages: Path) -> None:
    install(packages, "one-engine", "twice = one_engine:One")
    install(packages, "other-engine", "twice = other_engine:Other")
    with pytest.raises(NotLoaded, match="several packages bring an engine 'twice': one-engine, other-engine"):
        engine_named("twice")


def test_our_names_stay_ours(packages: Path) -> None:
    install(packages, "usurper", "local = usurper:Local", "raise AssertionError('imported')")
    assert isinstance(engine_named("local"), LocalEngine)


def test_an_installed_copy_of_the_project_says_the_same() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    assert declared == BUILT_IN
    assert all(EntryPoint(name, value, GROUP).module for name, value in BUILT_IN.items())


def test_an_import_string_needs_no_package() -> None:
    assert isinstance(engine_named("services.synthesis.engines.tone:ToneEngine"), ToneEngine)


FAILING = """
import numpy
class Unmakeable:
    def __init__(self):
        raise ValueError("no key\\nin its file")
class Half:
    name, sample_rate = "half", 24_000
    async def start(self): ...
number = 7
"""


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("nobody", "there is no engine 'nobody'; there are .*elevenlabs.*local.*pocket"),
        ("no_such_module:Engine", "cannot load 'no_such_module:Engine': No module named 'no_such_module'"),
        ("failing:Missing", "cannot load 'failing:Missing': module 'failing' has no attribute 'Missing'"),
        ("failing:", "cannot load 'failing:'"),
        (":", "cannot load ':'"),
        ("failing:number", "engine 'failing:number' cannot be made: it is no class and no function"),
        ("failing:Unmakeable", "engine 'failing:Unmakeable' cannot be made: no key in its file"),
        ("failing:Half", "engine 'failing:Half' is no engine: it has no enrol, speak, close"),
        ("broken", "cannot load 'broken': ZeroDivisionError|division by zero"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(packages: Path, wanted: str, said: str) -> None:
    (packages / "failing.py").write_text(FAILING)
    install(packages, "broken-engine", "broken = broken_engine:Engine", "1 / 0")
    with pytest.raises(NotLoaded, match=said) as refused:
        engine_named(wanted)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"SYNTHESIS_ENGINES": "nobody"}, "SYNTHESIS_ENGINES: there is no engine 'nobody'"),
        ({"SYNTHESIS_ENGINES": " , "}, "SYNTHESIS_ENGINES: names no engine"),
        ({"SYNTHESIS_ENGINES": "local,local"}, "SYNTHESIS_ENGINES: two engines are named 'local'"),
        ({"SYNTHESIS_ENGINES": "elevenlabs"}, "setting SYNTHESIS_ELEVENLABS_API_KEY_FILE: is not set"),
        (
            {"SYNTHESIS_ENGINES": "elevenlabs", "SYNTHESIS_ELEVENLABS_API_KEY_FILE": "/none"},
            "/none cannot be read",
        ),
    ],
)
async def test_a_server_that_cannot_have_its_engines_ends_with_one_line(
    environment: dict[str, str], said: str
) -> None:
    python = {"PYTHONPATH": os.pathsep.join([str(ROOT / "gen"), str(ROOT)]), "SERVER_ADDRESS": "127.0.0.1:0"}
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.synthesis"),
        cwd=ROOT,
        env={**os.environ, **python, **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(120):
            _, errors = await server.communicate()
    finally:
        if server.returncode is None:
            server.kill()
    lines = errors.decode().strip().splitlines()
    assert server.returncode == 1
    assert said in lines[-1]
    assert "Traceback" not in errors.decode()
