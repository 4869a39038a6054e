"""Prometheus and Alertmanager beside a stack, with the rules that a cluster gets."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import yaml

from dev.ports import free_port
from dev.process import Spec
from dev.project import ROOT

RULES: Final = ROOT / "deploy/k8s/components/monitoring/rules.yaml"
# As Debian calls it, and as its makers do.
_ALERTMANAGER: Final = ("prometheus-alertmanager", "alertmanager")
_INSTALL: Final = "on Debian and Ubuntu: apt-get install prometheus prometheus-alertmanager"


class NotInstalled(Exception):
    """Says what is missing and how to get it."""


@dataclass(frozen=True)
class Observation:
    """What runs, and where. Without an Alertmanager, alerts are seen at Prometheus alone."""

    prometheus: Path
    alertmanager: Path | None
    # Where alerts are posted; empty for nowhere.
    webhook: str = ""
    ports: Mapping[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("prometheus", "alertmanager")}
    )

    @property
    def urls(self) -> dict[str, str]:
        names = ("prometheus", "alertmanager") if self.alertmanager else ("prometheus",)
        return {name: f"http://127.0.0.1:{self.ports[name]}" for name in names}

    def specs(self, folder: Path, metrics: Mapping[str, str]) -> Iterator[Spec]:
        """`metrics` has by process where it tells them; everything is kept in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.alertmanager:
            (folder / "alertmanager.yaml").write_text(yaml.safe_dump(self._routing()))
            yield self._spec("alertmanager", self.alertmanager, folder, "--cluster.listen-address=")
        (folder / "rules.yaml").write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(self._scraping(metrics)))
        yield self._spec("prometheus", self.prometheus, folder, "--storage.tsdb.retention.time=30d")

    def _spec(self, name: str, program: Path, folder: Path, *options: str) -> Spec:
        storage = "--storage.tsdb.path" if name == "prometheus" else "--storage.path"
        listen = f"127.0.0.1:{self.ports[name]}"
        return Spec(
            name=name,
            command=(
                *(str(program), f"--config.file={folder / name}.yaml", f"--web.listen-address={listen}"),
                *(f"{storage}={folder / name}", "--log.level=warn", *options),
            ),
            ready=lambda: _ready(f"http://{listen}"),
            # Before that, there is nothing to be seen but absence.
            needs=("gateway",),
        )

    def _scraping(self, metrics: Mapping[str, str]) -> dict[str, Any]:
        """The jobs and labels that the PodMonitors give, with a process' name in place of its address."""
        rest = {name: url for name, url in metrics.items() if name != "gateway"}
        configuration: dict[str, Any] = {
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                _job("newvisions/newvisions", rest),
                _job("newvisions/newvisions-gateway", {"gateway": metrics["gateway"]}),
            ],
        }
        if self.alertmanager:
            targets = [{"targets": [f"127.0.0.1:{self.ports['alertmanager']}"]}]
            configuration["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
        return configuration

    def _routing(self) -> dict[str, Any]:
        receiver: dict[str, Any] = {"name": "operators"}
        if self.webhook:
            receiver["webhook_configs"] = [{"url": self.webhook, "send_resolved": True}]
        route = {
            "receiver": "operators",
            "group_by": ["alertname"],
            "group_wait": "1s",
            "group_interval": "5s",
        }
        return {"route": route, "receivers": [receiver]}


def installed(webhook: str = "") -> Observation:
    """Raises NotInstalled."""
    prometheus = shutil.which("prometheus")
    alertmanager = next(filter(None, map(shutil.which, _ALERTMANAGER)), None)
    if prometheus is None:
        raise NotInstalled(f"--observe needs Prometheus, which is not installed; {_INSTALL}")
    if webhook and alertmanager is None:
        raise NotInstalled(f"--alerts needs Alertmanager, which is not installed; {_INSTALL}")
    return Observation(Path(prometheus), Path(alertmanager) if alertmanager else None, webhook)


def _job(name: str, metrics: Mapping[str, str]) -> dict[str, Any]:
    (path,) = {urlsplit(url).path for url in metrics.values()}
    targets = [
        {
            "targets": [urlsplit(url).netloc],
            "labels": {"instance": process, "app_kubernetes_io_name": process},
        }
        for process, url in metrics.items()
    ]
    return {"job_name": name, "metrics_path": path, "static_configs": targets}


async def _ready(url: str) -> bool:
    async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
        try:
            return (await http.get(f"{url}/-/ready")).status_code == 200
        except httpx.TransportError:
            return False
