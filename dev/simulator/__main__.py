"""`python -m dev.simulator --port P --plan creator --seed N`: ElevenLabs and Gemini on this machine."""

import argparse
from dataclasses import replace

import uvicorn

from dev.simulator.options import Options
from dev.simulator.plans import PLANS
from dev.simulator.serving import configuration


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m dev.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--plan", choices=PLANS, default="creator")
    parser.add_argument("--slots", type=int, help="instead of the plan's")
    parser.add_argument("--adds", type=int, help="adds and edits in a cycle, instead of the plan's")
    parser.add_argument("--seed", type=int, default=0, help="of ids, faults and waits")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that meet one, 0 to 1")
    parser.add_argument("--latency", type=float, default=1.0, help="times the vendors' own; 0 for none")
    parser.add_argument("--hang-seconds", type=float, default=30.0)
    parser.add_argument(
        "--pause-seconds", type=float, default=0.0, help="of the text model, behind its first sentence"
    )
    parser.add_argument("--cycle-seconds", type=float, default=30 * 86_400.0)
    parser.add_argument("--key", default="", help="the only key that will do")
    parser.add_argument(
        "--edits-are-free", action="store_true", help="only adds spend the budget of adds and edits"
    )
    given = parser.parse_args()
    limits = {name: value for name in ("slots", "adds") if (value := getattr(given, name)) is not None}
    options = Options(
        plan=replace(PLANS[given.plan], **limits),
        seed=given.seed,
        fault_share=given.faults,
        latency=given.latency,
        hang_seconds=given.hang_seconds,
        pause_seconds=given.pause_seconds,
        cycle_seconds=given.cycle_seconds,
        key=given.key,
        edits_spend_budget=not given.edits_are_free,
    )
    print(
        f"provider simulator: http://{given.host}:{given.port} ({given.plan}, seed {given.seed})", flush=True
    )
    uvicorn.Server(configuration(options, given.host, given.port)).run()


if __name__ == "__main__":
    main()
