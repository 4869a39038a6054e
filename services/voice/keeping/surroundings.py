"""What keeping voices needs from outside, and its rules."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.voice.pool import Pool
from services.voice.ports import Blobs, Examiner, Provider, Voices
from services.voice.works import Works


class Overflow(StrEnum):
    """What answers when the provider has no place for a voice."""

    LOCAL = "local"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class KeepingRules:
    # After this an attempt counts as dead, and another may begin.
    attempt_lasts: timedelta
    # For so long a performance may speak in a voice after it leased it.
    lease_lasts: timedelta = timedelta(minutes=3)
    overflow: Overflow = Overflow.LOCAL
    # Voices that are prepared at the same time because their users are about to perform.
    prefetches: int = 4


@dataclass(frozen=True, slots=True)
class Surroundings:
    voices: Voices
    blobs: Blobs
    examiner: Examiner
    # The first one is preferred: new clones are made there.
    providers: Mapping[str, Provider]
    works: Works
    clock: Callable[[], datetime]
    # The places at the preferred provider, when they are limited.
    pool: Pool | None = None

    @property
    def preferred(self) -> Provider:
        return next(iter(self.providers.values()))

    @property
    def embedded(self) -> Provider:
        """The engine that the overflow speaks with; there always is one."""
        return next(provider for provider in self.providers.values() if not provider.pooled)
