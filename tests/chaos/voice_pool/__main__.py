"""`python -m tests.chaos.voice_pool --seeds 200 [--from N]`: one run after another, each with its seed."""

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from tests.chaos.voice_pool import site
from tests.chaos.voice_pool.run import Broken, play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.voice_pool", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (default: 0)")
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("out/chaos"), help="for what went wrong")
    return asyncio.run(_all(parser.parse_args()))


async def _all(options: argparse.Namespace) -> int:
    seeds, failed = iter(range(options.first, options.first + options.seeds)), list[int]()
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(options.at_once):
            group.create_task(_one_after_another(seeds, options.out, failed))
    seconds = perf_counter() - began
    each = seconds / max(options.seeds, 1)
    _say(f"{options.seeds} seeds in {seconds:.0f} s, {each:.1f} s each; failed: {failed or 'none'}")
    return 1 if failed else 0


async def _one_after_another(seeds: Iterator[int], out: Path, failed: list[int]) -> None:
    more = True
    while more:
        with tempfile.TemporaryDirectory(prefix="newvisions-chaos-", ignore_cleanup_errors=True) as folder:
            async with site.opened(Path(folder)) as opened:
                more = await _until_something_else_breaks(opened, seeds, out, failed)


async def _until_something_else_breaks(
    opened: site.Site, seeds: Iterator[int], out: Path, failed: list[int]
) -> bool:
    """Whether there may be more seeds, for another site: this one could not play its last."""
    for seed in seeds:
        began = perf_counter()
        try:
            figures = await play(opened, seed, out)
            _say(f"seed {seed}: held, {perf_counter() - began:.1f} s, {figures}")
        except Broken as broken:
            failed.append(seed)
            _say(f"BROKEN {broken}")
        except Exception as error:
            failed.append(seed)
            where = traceback.extract_tb(error.__traceback__)
            _say(f"seed {seed} could not be run: {error!r} at {where[-1]} {[each.lineno for each in where]}")
            return True
    return False


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
