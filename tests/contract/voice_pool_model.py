"""What users and operators may ask for, in any order, and what can be known of it from outside."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from hypothesis import strategies as st

from dev.simulator.faults import Fault
from services.voice.domain import Lease
from tests.contract.voice_pool_house import sample

USERS: Final = tuple(f"user-{number}" for number in range(5))
VARIANTS: Final = 2


@dataclass(frozen=True)
class Deed:
    """What one user, or an operator, asks one replica for."""

    what: str
    user_id: str
    replica: int
    variant: int = 0
    # The caller hangs up after this time.
    patience: float | None = None
    # The replica dies at its n-th operation on anything outside, before that took effect or after.
    dies_at: int | None = None
    after_effect: bool = False


@dataclass
class Held:
    """A lease that was not given up, and until when it may be counted on."""

    lease: Lease
    user_id: str
    performance_id: str
    until: datetime


@dataclass
class Model:
    """What can be known from outside."""

    # The samples that each user may have by now; None stands for none.
    samples: dict[str, set[str | None]] = field(default_factory=lambda: {user: {None} for user in USERS})
    held: list[Held] = field(default_factory=list)
    # Users whose attempt a dead replica left behind: others wait for its time to be over.
    waiting: set[str] = field(default_factory=set)
    stolen: set[str] = field(default_factory=set)
    # What happened so far, for the message of a failure.
    story: list[str] = field(default_factory=list)

    def tell(self, what: str, at: datetime) -> None:
        self.story.append(f"{at:%d %H:%M:%S.%f} {what}")

    def so_far(self) -> str:
        return "\n".join(self.story)


DEEDS: Final = st.builds(
    Deed,
    what=st.sampled_from(
        [
            *("perform",) * 8,
            *("lease",) * 4,
            *("keep",) * 4,
            *("regain",) * 2,
            *("touch",) * 2,
            *("evict",) * 2,
            "erase",
            "sweep",
        ]
    ),
    user_id=st.sampled_from(USERS),
    replica=st.integers(0, 1),
    variant=st.integers(0, VARIANTS - 1),
    patience=st.sampled_from([*(None,) * 12, 0.0, 0.002, 0.01, 0.03]),
    dies_at=st.sampled_from([*(None,) * 60, *range(1, 16)]),
    after_effect=st.booleans(),
)
# The sample that a user begins with; most have one.
VARIANT: Final = st.sampled_from([0, 0, 1, 1, None])
OPERATIONS: Final = st.sampled_from(["add", "add", "add", "delete", "delete", "list", "subscription", "edit"])
FAULTS: Final = st.sampled_from([fault for fault in Fault if fault is not Fault.REFUSAL])

CHANGES: Final = frozenset({"keep", "erase"})


def aim(deed: Deed) -> str | None:
    """The sample that the user wants to have."""
    return sample(deed.user_id, deed.variant).hash if deed.what == "keep" else None
