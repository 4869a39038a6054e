"""`python -m tests.chaos.performances --seeds 100 [--composition one many]`: one run after another."""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from tests.chaos.performances import site
from tests.chaos.performances.plan import KINDS, aims_of, plan_of
from tests.chaos.performances.run import play
from tests.chaos.seeds import play_on, say

COMPOSITIONS = ("one", "many")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.performances", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (default: 0)")
    parser.add_argument("--composition", nargs="+", choices=COMPOSITIONS, default=list(COMPOSITIONS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of disturbance")
    parser.add_argument("--out", type=Path, default=Path("out/chaos"), help="for what went wrong")
    return asyncio.run(_all(parser.parse_args()))


async def _all(options: argparse.Namespace) -> int:
    """Both compositions at once, each on a site of its own."""
    failed: list[str] = []
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for composition in options.composition:
            seeds = iter(range(options.first, options.first + options.seeds))
            group.create_task(_one_after_another(composition, seeds, options, failed))
    for composition in options.composition:
        aims = {
            (each.what, each.whom, each.step)
            for seed in range(options.first, options.first + options.seeds)
            for each in plan_of(seed, composition, options.kinds).disturbances
            if each.step
        }
        say(f"{composition}: {len(aims)} of {len(aims_of(composition))} kills and freezes at a step")
    count = options.seeds * len(options.composition)
    say(f"{count} runs in {perf_counter() - began:.0f} s; failed: {sorted(failed) or 'none'}")
    return 1 if failed else 0


async def _one_after_another(
    composition: str, seeds: Iterator[int], options: argparse.Namespace, failed: list[str]
) -> None:
    more = True
    while more:
        with tempfile.TemporaryDirectory(prefix="newvisions-chaos-", ignore_cleanup_errors=True) as folder:
            async with site.opened(Path(folder), composition) as opened:
                more = await play_on(
                    composition, seeds, lambda seed: play(opened, seed, options.out, options.kinds), failed
                )


if __name__ == "__main__":
    raise SystemExit(main())
