"""When who was away, on the one clock of this machine."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Outage:
    who: str
    began: float
    ended: float = 0.0


@dataclass
class Outages:
    outages: list[Outage] = field(default_factory=list)

    @contextmanager
    def outage(self, who: str) -> Iterator[None]:
        outage = Outage(who, time.time())
        self.outages.append(outage)
        try:
            yield
        finally:
            outage.ended = time.time()
