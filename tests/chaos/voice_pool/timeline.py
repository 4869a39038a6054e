"""What happened in one run, as those saw it who asked: with times on the one clock of this machine."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.outages import Outages


@dataclass
class Call:
    """One call of one user; `ended` is 0 while nobody knows how it ends."""

    user_id: str
    what: str
    began: float
    ended: float = 0.0
    # "ok", or the reason of the failure.
    outcome: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        return self.outcome == "ok"


@dataclass
class Hold:
    """A lease: nobody may take its voice away between `granted` and `given_up`."""

    user_id: str
    engine: str
    engine_voice_id: str
    voice_source: str
    sample_hash: str
    profile: bytes
    fence: int
    asked: float
    granted: float
    given_up: float = 0.0


@dataclass
class Timeline(Outages):
    calls: list[Call] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    # Voices that somebody else removed at the provider.
    stolen: set[str] = field(default_factory=set)
    # The clone that each user was told of last.
    clones: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def call(self, user_id: str, what: str, **facts: Any) -> Iterator[Call]:
        call = Call(user_id, what, time.time(), facts=facts)
        self.calls.append(call)
        try:
            yield call
        finally:
            call.ended = time.time()

    def write(self, path: Path, plan: str, effects: list[dict[str, Any]], violations: list[str]) -> None:
        """Everything in the order of time, a JSON object a line."""
        lines = [{"at": call.began, "call": asdict(call)} for call in self.calls]
        lines += [{"at": hold.granted, "hold": asdict(hold)} for hold in self.holds]
        lines += [{"at": outage.began, "outage": asdict(outage)} for outage in self.outages]
        lines += [{"at": effect["at"], "effect": effect} for effect in effects]
        lines.sort(key=lambda line: float(str(line["at"])))
        head = {"plan": plan.splitlines(), "violations": violations, "stolen": sorted(self.stolen)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(json.dumps(line, default=repr) for line in (head, *lines)) + "\n")
