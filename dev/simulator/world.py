"""Everything that a reset makes new, and what can be read of it."""

import asyncio
import time
from collections import Counter
from dataclasses import asdict
from typing import Any

from dev.simulator.account import Account
from dev.simulator.chance import Chance, around
from dev.simulator.faults import FaultPlan
from dev.simulator.options import Options


class World:
    def __init__(self, options: Options) -> None:
        self.reset(options)

    def reset(self, options: Options) -> None:
        """As on the first day. Requests still under way get no answer, and have no effect any more."""
        self.options = options
        self._ahead = 0.0
        chance = Chance(options.seed)
        self._chance = chance
        self.faults = FaultPlan(chance, options.fault_share)
        self.account = Account(options, chance, self.now)
        self.requests: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()

    def change(self, options: dict[str, Any]) -> None:
        """Waits and faults; the limits of the account are those of its first day. Raises OptionsRefused."""
        self.options = self.options.changed(options)
        self.faults.settle_for(self.options.fault_share)

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """The provider's clock only: billing cycles end when it says so."""
        self._ahead += seconds

    async def wait(self, operation: str, median_seconds: float) -> None:
        median = median_seconds * self.options.latency
        if median:
            await asyncio.sleep(around(self._chance.next(f"wait of {operation}"), median))

    def audit(self) -> dict[str, Any]:
        account = self.account
        account.turn_cycle()
        done = Counter(effect["effect"] for effect in account.effects)
        return {
            "options": asdict(self.options),
            "voices": [asdict(voice) for voice in account.cloned],
            "voices_now": len(account.cloned),
            "most_voices_at_once": account.most_voices,
            "adds": done["add"],
            "edits": done["edit"],
            "deletes": done["delete"],
            "adds_used_this_cycle": account.adds_used,
            "characters_used_this_cycle": account.characters_used,
            "speaking_now": sum(account.speaking.values()),
            "most_speaking_at_once": account.most_speaking[False],
            "most_speaking_fast_at_once": account.most_speaking[True],
            "requests": dict(self.requests),
            "refusals": dict(self.refusals),
            "faults": dict(self.faults.met),
            "effects": account.effects,
        }
