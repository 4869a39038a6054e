"""How long somebody who keeps failing to sign in has to wait."""

from dataclasses import dataclass
from datetime import timedelta

_FIRST_PAUSE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Patience:
    # Failures that cost no wait.
    free: int
    # However many failures: nobody is locked out for good.
    longest: timedelta

    def pauses(self) -> list[timedelta]:
        """The wait after 0, 1, 2, ... failures: doubles from one second; the last one is for all others."""
        waits = [timedelta(0)] * self.free
        pause = _FIRST_PAUSE
        while pause < self.longest:
            waits.append(pause)
            pause *= 2
        return [*waits, self.longest]


@dataclass(frozen=True, slots=True)
class Counted:
    """One thing whose failures are counted: an account, or an address."""

    # Tells nobody whose it is.
    key: str
    patience: Patience
