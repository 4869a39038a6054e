"""A running simulator as a test sees it: what was done to it, and what it is to do."""

from typing import Any

import httpx

from dev.simulator.faults import Fault


class Simulator:
    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self.url = url
        self._http = http

    async def audit(self) -> dict[str, Any]:
        response = await self._http.get(f"{self.url}/_sim/audit")
        return dict(response.raise_for_status().json())

    async def reset(self, **options: Any) -> None:
        """An account as on the first day; `options` and limits of a plan by their names."""
        await self._post("reset", options)

    async def ask_for(self, operation: str, *faults: Fault) -> None:
        """The next requests of this operation meet these, one each."""
        await self._post("faults", {operation: list(faults)})

    async def share_faults(self, share: float) -> None:
        """From now on, so many of all requests meet a fault, and none because it was asked for."""
        await self._post("share", {"share": share})

    async def change(self, **options: Any) -> None:
        """Waits and faults from now on."""
        await self._post("change", options)

    async def advance(self, seconds: float) -> None:
        await self._post("clock", {"seconds": seconds})

    async def _post(self, what: str, body: dict[str, Any]) -> None:
        (await self._http.post(f"{self.url}/_sim/{what}", json=body)).raise_for_status()
