"""A real object store that speaks S3, for `newvisions test --object-store`: SeaweedFS, pinned by hash."""

import json
from pathlib import Path

import httpx

from dev.pinned import pinned
from dev.ports import free_port
from dev.process import Spec

# Of a server that lives for one run.
KEY, SECRET = "newvisions", "for tests only"  # pragma: allowlist secret


def object_store(port: int, data: Path) -> Spec:
    """Installs it when it is not yet. Raises ToolNotInstalled."""
    (data / "store").mkdir(parents=True, exist_ok=True)
    who = {"name": "tests", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    identities = data / "identities.json"
    identities.write_text(json.dumps({"identities": [who]}))
    parts = ("master", "volume", "filer", "s3")
    ports = [f"-{part}.port.grpc={free_port()}" for part in parts]
    ports += [f"-{part}.port={free_port()}" for part in parts if part != "s3"]
    return Spec(
        name="object-store",
        command=(
            *(str(pinned("seaweedfs", "weed")), "server", f"-dir={data / 'store'}"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.port={port}"),
            # Both have a port of their own unless told.
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-s3.config={identities}", "-master.volumeSizeLimitMB=64", "-volume.max=16", *ports),
        ),
        ready=lambda: _answers(port),
    )


def environment(port: int) -> dict[str, str]:
    """How the services find it, as they find any other: the usual variables of S3's clients."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
    }


async def _answers(port: int) -> bool:
    """It refuses who does not sign; but it is there."""
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            return (await http.get(f"http://127.0.0.1:{port}/")).status_code == 403
    except httpx.HTTPError:
        return False
