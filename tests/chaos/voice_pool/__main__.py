"""`python -m tests.chaos.voice_pool --seeds 200 [--from N]`: one run after another, each with its seed."""

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from tests.chaos.seeds import play_on, say
from tests.chaos.voice_pool import site
from tests.chaos.voice_pool.run import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.voice_pool", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one (default: 0)")
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("out/chaos"), help="for what went wrong")
    return asyncio.run(_all(parser.parse_args()))


async def _all(options: argparse.Namespace) -> int:
    seeds, failed = iter(range(options.first, options.first + options.seeds)), list[str]()
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(options.at_once):
            group.create_task(_one_after_another(seeds, options.out, failed))
    seconds = perf_counter() - began
    each = seconds / max(options.seeds, 1)
    say(f"{options.seeds} seeds in {seconds:.0f} s, {each:.1f} s each; failed: {failed or 'none'}")
    return 1 if failed else 0


async def _one_after_another(seeds: Iterator[int], out: Path, failed: list[str]) -> None:
    more = True
    while more:
        with tempfile.TemporaryDirectory(prefix="newvisions-chaos-", ignore_cleanup_errors=True) as folder:
            async with site.opened(Path(folder)) as opened:
                more = await play_on("seed", seeds, lambda seed: play(opened, seed, out), failed)


if __name__ == "__main__":
    raise SystemExit(main())
