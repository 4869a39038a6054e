"""What `up --observe` would run, and what it says when it cannot."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.observing import Observation
from dev.project import PYTHONPATH, python
from dev.tools import promtool

METRICS = {
    "gateway": "http://127.0.0.1:1/stats/prometheus",
    "auth": "http://127.0.0.1:2/metrics",
    "voice": "http://127.0.0.1:3/metrics",
}
OPERATORS = "http://127.0.0.1:9/alerts"


def written(folder: Path, alertmanager: Path | None = Path("alertmanager")) -> dict[str, Any]:
    observation = Observation(Path("prometheus"), alertmanager, OPERATORS)
    names = [spec.name for spec in observation.specs(folder, METRICS)]
    return {name: yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in names}


def test_every_process_is_scraped_as_its_monitor_in_a_cluster_would_call_it(tmp_path: Path) -> None:
    services, gateway = written(tmp_path)["prometheus"]["scrape_configs"]
    assert (services["job_name"], services["metrics_path"]) == ("newvisions/newvisions", "/metrics")
    assert [each["targets"] for each in services["static_configs"]] == [["127.0.0.1:2"], ["127.0.0.1:3"]]
    assert [each["labels"]["instance"] for each in services["static_configs"]] == ["auth", "voice"]
    assert gateway["metrics_path"] == "/stats/prometheus"
    assert gateway["static_configs"][0]["targets"] == ["127.0.0.1:1"]


def test_alerts_go_where_they_were_asked_to_go(tmp_path: Path) -> None:
    (receiver,) = written(tmp_path)["alertmanager"]["receivers"]
    assert [hook["url"] for hook in receiver["webhook_configs"]] == [OPERATORS]


def test_without_an_alertmanager_prometheus_runs_alone(tmp_path: Path) -> None:
    found = written(tmp_path, alertmanager=None)
    assert list(found) == ["prometheus"]
    assert "alerting" not in found["prometheus"]


@pytest.mark.slow
def test_prometheus_takes_the_configuration_and_the_rules(tmp_path: Path) -> None:
    tool = promtool()
    if tool is None:
        pytest.skip("promtool is not installed, and there is no apt to take it from")
    written(tmp_path)
    command = (tool, "check", "config", tmp_path / "prometheus.yaml")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (
            ["--observe"],
            1,
            "--observe needs Prometheus, which is not installed; on Debian and Ubuntu: apt-get",
        ),
        (["--alerts", OPERATORS], 2, "--alerts goes with --observe"),
    ],
)
async def test_up_says_in_a_line_what_is_missing(
    tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    child = await asyncio.create_subprocess_exec(
        *python("dev.up", "--data-dir", str(tmp_path / "data"), *options),
        # Where no program is.
        env={**os.environ, **PYTHONPATH, "PATH": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await child.communicate()
    assert child.returncode == code
    assert said in complaint.decode().splitlines()[-1]
    assert not (tmp_path / "data").exists()
