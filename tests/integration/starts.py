"""`python -m tests.integration.starts SERVICE`: tries to start it under one environment after another.

Each line in is a JSON object of variables; each line out says how the start ended. One process for many
starts, because importing a service takes longer than refusing to start it.
"""

import asyncio
import contextlib
import json
import os
import sys
import traceback
from importlib import import_module

from services.kernel.server import ServerSettings, serve
from services.kernel.settings import read

# A start that went well ends as well, and then looks like what it is: no refusal.
_SECONDS = 12


def ended(service: str) -> dict[str, object]:
    """As the interpreter would end: with a code and a text, or with a traceback."""
    opening = import_module(f"services.{service}.__main__").open_service

    async def start() -> None:
        async with asyncio.timeout(_SECONDS):
            await serve({service: opening}, read(ServerSettings))

    try:
        asyncio.run(start())
    except SystemExit as exit_:
        return {"said": str(exit_.code or ""), "traceback": ""}
    except BaseException:
        return {"said": "", "traceback": traceback.format_exc()}
    return {"said": "", "traceback": ""}


def main(service: str) -> None:
    inherited = dict(os.environ)
    # The log goes where people look for it; answers have a way of their own.
    answers = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            os.environ.clear()
            os.environ.update({**inherited, **json.loads(line)})
            print(json.dumps(ended(service)), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
