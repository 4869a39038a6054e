"""The machinery of a saga: what runs in which order, at once or one by one, and how it is undone.

It knows no business. Which steps there are, and why in this order, stands in steps.py.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Generic, TypeVar

from prometheus_client import Histogram

from services.kernel.tracing import stage

STAGE_SECONDS = Histogram(
    "perform_step_seconds",
    "Time a step of a performance took, also when it failed.",
    ["step"],
    # Database writes at one end, a voice that is cloned again at the other.
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1, 3, 10, 30),
)

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """`undo` is safe to repeat, and safe when `do` never ran or never took effect."""

    name: str
    do: Callable[[S], Awaitable[None]]
    undo: Callable[[S], Awaitable[None]] | None = None
    # Asked when its turn comes; what is not needed is left out.
    needed: Callable[[S], bool] | None = None


# Steps of one stage run at once; a stage begins when the one before is complete.
Stage = tuple[Step[S], ...]


async def run(stages: Sequence[Stage[S]], state: S) -> None:
    """Every stage in order. The first failure stops the rest and is raised."""
    for stage_of in stages:
        steps = [step for step in stage_of if step.needed is None or step.needed(state)]
        if len(steps) == 1:
            await _timed(steps[0], state)
            continue
        try:
            async with asyncio.TaskGroup() as group:
                for step in steps:
                    group.create_task(_timed(step, state))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def undo(stages: Sequence[Stage[S]], state: S) -> None:
    """Every undo, whatever happens to the others; then the first failure is raised."""
    attempts = (step.undo(state) for steps in stages for step in steps if step.undo)
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _timed(step: Step[S], state: S) -> None:
    started = perf_counter()
    try:
        with stage(f"perform {step.name}"):
            await step.do(state)
    finally:
        STAGE_SECONDS.labels(step.name).observe(perf_counter() - started)
