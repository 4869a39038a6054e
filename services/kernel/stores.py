"""Stores of files and objects: slow or away, whoever waits for one is answered in seconds."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

# A memo has 200 kB. Below the patience of whoever waits for it, also when it must be given up and removed.
USUAL_SECONDS: Final = 8.0
_RETRIES: Final = 2
_PREFIXES: Final = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_", "azure": "AZURE_"}
# What operators may say of the way to a store; told anything else, the library reads none of it by itself.
_FROM_ENVIRONMENT: Final = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "http1_only",
    "http2_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "read_timeout",
    "root_certificate",
    "timeout",
    "user_agent",
)


def patience(url: str, seconds: float) -> dict[str, Any]:
    """Options for `from_url`; its own are half a minute a try, ten tries, three minutes. Files take none."""
    scheme = urlsplit(url).scheme
    if scheme in {"file", "memory"}:
        return {}
    attempt = timedelta(seconds=seconds / 2)
    prefix = _PREFIXES.get(scheme)
    names = {key: f"{prefix}{key.upper()}" for key in _FROM_ENVIRONMENT if prefix}
    said = {key: os.environ[name] for key, name in names.items() if name in os.environ}
    return {
        "client_options": {"timeout": attempt, "connect_timeout": attempt, **said},
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": attempt},
    }


class Threads:
    """Calls that block, in threads of their own: a store that hangs holds nobody else's.

    A blocked thread cannot be stopped: its waiter gets TimeoutError; calls still in the queue are cancelled.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._threads = ThreadPoolExecutor(count, "store")
        self._seconds = seconds

    async def run(self, call: Callable[..., T], *given: Any, **options: Any) -> T:
        """Raises TimeoutError."""
        work = partial(call, *given, **options)
        async with asyncio.timeout(self._seconds):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
