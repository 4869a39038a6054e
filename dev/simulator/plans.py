"""What ElevenLabs sells: limits by plan, and what each model takes."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plan:
    tier: str
    slots: int
    # Adds and edits in a billing cycle; deleting gives none back.
    adds: int
    characters: int
    # Requests at once, of models with full latency and of fast ones.
    concurrent: int
    concurrent_fast: int
    # The vendor names no figure; what exceeds it is answered like any other overload of theirs.
    requests_per_second: int = 100


# Slots, concurrency and the budgets from Creator on are the vendor's; it publishes no budgets below that.
PLANS: Final = {
    plan.tier: plan
    for plan in (
        Plan("free", slots=3, adds=10, characters=10_000, concurrent=2, concurrent_fast=4),
        Plan("starter", slots=10, adds=30, characters=30_000, concurrent=3, concurrent_fast=6),
        Plan("creator", slots=30, adds=95, characters=100_000, concurrent=5, concurrent_fast=10),
        Plan("pro", slots=160, adds=290, characters=500_000, concurrent=10, concurrent_fast=20),
        Plan("scale", slots=660, adds=1040, characters=2_000_000, concurrent=15, concurrent_fast=30),
    )
}


@dataclass(frozen=True, slots=True)
class Model:
    characters: int
    cost_factor: float
    fast: bool
    first_audio_seconds: float


MODELS: Final = {
    "eleven_flash_v2_5": Model(40_000, 0.5, True, 0.288),
    "eleven_turbo_v2_5": Model(40_000, 0.5, True, 0.264),
    "eleven_multilingual_v2": Model(10_000, 1.0, False, 1.232),
    "eleven_v3": Model(3_000, 1.0, False, 1.232),
}
