"""Settings of the gateway that are wrong end its start with one line that says which, and why."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dev.project import PYTHONPATH, ROOT
from gateway.settings import SERVICES, SettingsWrong, load_settings

GOOD: dict[str, Any] = {
    "upstreams": dict.fromkeys(SERVICES, "127.0.0.1:1"),
    "admin_socket": "/tmp/admin",
    "limits": {"reads": 5},
    "listener_tls": {"certificate": "a", "key": "b"},
    "cors_origins": ["https://a.example"],
}


def written(folder: Path, settings: object) -> Path:
    path = folder / "gateway.json"
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return path


def test_good_settings_are_read_with_all_that_is_inside_them(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, GOOD))
    assert settings.limits is not None
    assert settings.listener_tls is not None
    assert (settings.limits.reads, settings.limits.costly, settings.listener_tls.key) == (5, 60, "b")
    assert settings.cors_origins == ("https://a.example",)
    assert load_settings(written(tmp_path, {**GOOD, "limits": None})).limits is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{", "is not JSON"),
        ([], "the settings must be an object"),
        ({**GOOD, "listen_prot": 80}, "unknown settings: listen_prot"),
        ({**GOOD, "limits": {"read": 1}}, "unknown settings: limits.read"),
        ({**GOOD, "limits": 5}, "limits must be an object"),
        ({**GOOD, "listen_port": "80"}, "listen_port must be a whole number"),
        ({**GOOD, "listen_port": True}, "listen_port must be a whole number"),
        ({**GOOD, "issuer": None}, "issuer must be a text"),
        ({**GOOD, "upstreams": "127.0.0.1"}, "upstreams must be an object"),
        ({**GOOD, "upstreams": {}}, "no upstream for auth, content"),
        ({**GOOD, "listener_tls": {"certificate": "a"}}, "listener_tls missing 1 required"),
        ({"upstreams": GOOD["upstreams"]}, "missing 1 required positional argument: 'admin_socket'"),
        ({**GOOD, "admin_socket": "/" + "a" * 120}, "socket path too long"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, wrong: object, said: str) -> None:
    with pytest.raises(SettingsWrong, match=r"gateway\.json") as failure:
        load_settings(written(tmp_path, wrong))
    assert said in str(failure.value)


def test_files_of_a_folder_add_up_and_none_repeats_another(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    (tmp_path / "telemetry.json").write_text('{"otlp": "collector:4317"}')
    (tmp_path / "notes.txt").write_text("no settings")
    settings = load_settings(tmp_path)
    assert (settings.otlp, settings.cors_origins) == ("collector:4317", ("https://a.example",))
    (tmp_path / "telemetry.json").write_text('{"otlp": "collector:4317", "limits": null}')
    with pytest.raises(SettingsWrong, match=r"telemetry\.json: set in another file as well: limits"):
        load_settings(tmp_path)


@pytest.mark.parametrize("wrong", [None, "{"])
def test_the_process_ends_with_one_line(tmp_path: Path, wrong: str | None) -> None:
    path = tmp_path / "absent.json" if wrong is None else written(tmp_path, wrong)
    command = (sys.executable, "-m", "gateway", "--settings", str(path))
    ended = subprocess.run(command, cwd=ROOT, env=PYTHONPATH, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"gateway: {path}")
