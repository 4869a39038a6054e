"""How an Envoy is told to let go: requests under way end, new ones go elsewhere."""

import asyncio
from pathlib import Path

import httpx

# Longer than a perform takes to be refused when its database is gone.
DRAIN_SECONDS = 12.0


async def drain(admin: Path, seconds: float = DRAIN_SECONDS, *, notice_seconds: float = 0.0) -> None:
    """Refuse new connections and let requests under way end. SIGTERM alone would cut them off.

    `notice_seconds` is for load balancers in front: so long the gateway says that it is not ready and
    still takes whatever comes.
    """
    transport = httpx.AsyncHTTPTransport(uds=str(admin))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin", timeout=2) as http:
        try:
            await http.post("/healthcheck/fail")
            await asyncio.sleep(notice_seconds)
            await http.post("/drain_listeners?graceful&skip_exit")
            async with asyncio.timeout(seconds):
                while await _under_way(http):  # noqa: ASYNC110 - Envoy tells only when asked
                    await asyncio.sleep(0.05)
        except (httpx.HTTPError, TimeoutError):
            return


async def _under_way(http: httpx.AsyncClient) -> bool:
    answer = await http.get("/stats?filter=^http\\..*downstream_rq_active$&format=json")
    counted = [
        stat
        for stat in answer.json()["stats"]
        if not stat["name"].startswith(("http.admin.", "http.metrics."))
    ]
    return any(stat["value"] for stat in counted)
