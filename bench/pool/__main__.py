"""How many performances does a slot policy serve from the provider's clones, and for how many adds?

    python -m bench.pool [--seeds 201 202 203 204] [--picture out/pool.png]
    python -m bench.pool --trace performs.csv       a CSV file with the columns time_s,user
    python -m bench.pool --million                  one million users: how long does the replay take?

One JSON line for each plan, load and policy: the share of performances served, the adds spent, and the
share divided by the two offline figures of bench/pool/bounds.py. The rules' defaults were chosen on
seeds 1 to 20; judge them by others.
"""

import argparse
import gc
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from bench import report
from bench.pool.bounds import Bounds, bounds
from bench.pool.loads import Load, from_csv, synthetic
from bench.pool.picture import Row, draw
from bench.pool.replay import Outcome, replay
from bench.pool.rivals import RIVALS, replay_rival
from services.voice.policy import POLICIES, policy_named

# Places, adds a cycle, and how many users share them.
PLANS: Final = (
    (10, 30, (20, 50, 200)),
    (30, 95, (60, 150, 600)),
    (160, 290, (250, 800, 3200)),
    (660, 1040, (1000, 3300, 13000)),
)
TEST_SEEDS: Final = (201, 202, 203, 204)


def outcomes(load: Load, slots: int, adds: int) -> Iterator[Outcome]:
    for name in POLICIES:
        yield replay(load, policy_named(name), slots, adds)
    for rival in RIVALS:
        yield replay_rival(load, rival(slots, adds))


def compare(loads: Sequence[Load], slots: int, adds: int) -> list[Row]:
    """Means over the loads, which differ by seed only."""
    offline = [bounds(load, slots, adds) for load in loads]
    by_policy = zip(*(outcomes(load, slots, adds) for load in loads), strict=True)
    return [_row(list(of_one), offline, loads, slots, adds) for of_one in by_policy]


def _row(of_one: list[Outcome], offline: list[Bounds], loads: Sequence[Load], slots: int, adds: int) -> Row:
    share = statistics.fmean(outcome.share for outcome in of_one)
    static = statistics.fmean(bound.static_best for bound in offline)
    upper = statistics.fmean(bound.upper_bound for bound in offline)
    row = Row(of_one[0].policy, slots, adds, loads[0].users, share, static, upper)
    report.line(
        bench="pool",
        policy=row.policy,
        slots=slots,
        adds=adds,
        users=row.users,
        loads=[load.name for load in loads],
        performs=sum(outcome.performs for outcome in of_one),
        served_share=round(share, 4),
        clones=round(statistics.fmean(outcome.clones for outcome in of_one), 1),
        served_per_clone=round(statistics.fmean(outcome.served_per_clone for outcome in of_one), 2),
        static_best=round(static, 4),
        upper_bound=round(upper, 4),
        of_static_best=round(share / static, 4),
        of_upper_bound=round(share / upper, 4),
    )
    return row


def million() -> None:
    began, computed = perf_counter(), process_time()
    load = synthetic(1_000_000, TEST_SEEDS[0])
    made = process_time() - computed
    gc.disable()  # A million habits and no cycle among them: looking for one is a third of the time.
    outcome = replay(load, policy_named("decayed_rate"), 660, 1040)
    gc.enable()
    report.line(
        bench="pool_million",
        performs=outcome.performs,
        served_share=round(outcome.share, 4),
        clones=outcome.clones,
        seconds=round(perf_counter() - began, 1),
        cpu_seconds=round(process_time() - computed, 1),
        cpu_seconds_making_the_load=round(made, 1),
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seeds", type=int, nargs="+", default=list(TEST_SEEDS))
    options.add_argument("--trace", type=Path)
    options.add_argument("--picture", type=Path)
    options.add_argument("--million", action="store_true")
    chosen = options.parse_args()
    if chosen.million:
        million()
        return
    rows: list[Row] = []
    for slots, adds, counts in PLANS:
        if chosen.trace:
            rows += compare([from_csv(chosen.trace)], slots, adds)
            continue
        for users in counts:
            rows += compare([synthetic(users, seed) for seed in chosen.seeds], slots, adds)
    if chosen.picture:
        draw(rows, chosen.picture)
        print(f"drew {chosen.picture}", file=sys.stderr)


if __name__ == "__main__":
    main()
