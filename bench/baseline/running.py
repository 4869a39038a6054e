"""The application as a process of its own."""

from collections.abc import Mapping
from pathlib import Path

import httpx

from dev.process import Spec
from dev.project import PYTHONPATH, python


def spec(port: int, mongo_url: str, folder: Path, provider_url: str, more: Mapping[str, str]) -> Spec:
    """`more` are further settings of it, by the names of their variables."""
    return Spec(
        name="baseline",
        command=python("bench.baseline"),
        environment={
            **PYTHONPATH,
            "BASELINE_MONGO_URL": mongo_url,
            "BASELINE_FOLDER": str(folder),
            "BASELINE_PORT": str(port),
            "BASELINE_ELEVENLABS_URL": provider_url,
            "BASELINE_ELEVENLABS_KEY": "a key of the account's owner",
            "BASELINE_GEMINI_URL": provider_url,
            "BASELINE_GEMINI_KEY": "a key of the account's owner",
            "BASELINE_TOKEN_SECRET": "a secret of no more than one run",  # pragma: allowlist secret
            **more,
        },
        ready=lambda: _answers(port),
    )


async def _answers(port: int) -> bool:
    async with httpx.AsyncClient(timeout=2) as http:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/healthz")).is_success
        except httpx.HTTPError:
            return False
