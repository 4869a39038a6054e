"""A process that stops closes nothing that somebody still works with."""

import asyncio
import os

from dev.project import PYTHONPATH, python


async def test_work_whose_caller_left_ends_before_its_service_is_closed() -> None:
    process = await asyncio.create_subprocess_exec(
        *python("tests.integration.left_behind"),
        env={"PATH": os.environ["PATH"], **PYTHONPATH},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    events = [line for line in said.decode().split() if line in {"kept", "freed", "closed"}]
    assert (events, process.returncode) == (["kept", "closed"], 0)
