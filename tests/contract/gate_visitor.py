"""A replica in a process of its own, whose callers take turns and keep them.

`python -m tests.contract.gate_visitor URL NAME SEATS LEASE CALLERS`
"""

import asyncio
import sys

from services.synthesis.gate import Gate, Terms
from services.synthesis.valkey import Shared, open_gate


async def main(url: str, name: str, seats: int, lease_seconds: float, callers: int) -> None:
    async with open_gate(name, name, Terms(assumed=seats), Shared(url, 20, lease_seconds)) as gate:
        await asyncio.gather(*(_stay(gate) for _ in range(callers)))


async def _stay(gate: Gate) -> None:
    async with gate.seat(600):
        sys.stdout.write("seated\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])))
