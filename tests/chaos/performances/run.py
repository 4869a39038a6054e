"""One run: what a seed plans, done to a site under load; everything then calm; the verdict."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, Final

from dev.performer import accepted
from tests.chaos.performances import checking
from tests.chaos.performances.audience import Spectacle
from tests.chaos.performances.disturbing import disturb
from tests.chaos.performances.history import History
from tests.chaos.performances.plan import KINDS, SECONDS, Plan, plan_of
from tests.chaos.performances.site import Site
from tests.chaos.seeds import Broken

# Everything that is taken for dead or unknown is so after a few seconds; the rest is for busy machines.
_CALM_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.2


async def play(site: Site, seed: int, out: Path, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Figures of a run in which everything held. Raises Broken."""
    plan, history, clock = plan_of(seed, site.composition, kinds), History(), perf_counter()
    was = await _fresh(site, plan)
    spectacles = [
        Spectacle(site, owner, history, Random(f"{seed}/{number}"))
        for number, owner in enumerate(site.owners)
    ]
    await _chaos(site, plan, history, spectacles)
    await site.simulator.share_faults(0.0)
    found = await _calm(site, history, spectacles)
    found += await checking.violations(site, history, was)
    if found:
        raise Broken(_report(site, plan, history, found, out))
    answers = [answer for request in history.requests for answer in request.answers]
    return {
        "requests": len(history.requests),
        "answers": len(answers),
        "good": sum(answer.status == 200 for answer in answers),
        "lost": sum(answer.lost for answer in answers),
        "refused": sum(answer.status >= 400 for answer in answers),
        "outages": [outage.who for outage in history.outages],
        "left_out": history.left_out,
        "seconds": round(perf_counter() - clock, 1),
    }


async def _fresh(site: Site, plan: Plan) -> checking.Before:
    """Of what earlier runs left, only what this one must not be blamed for is noted."""
    for log in site.logs:
        log.write_bytes(b"")
    await site.simulator.change(
        latency=plan.latency, hang_seconds=plan.hang_seconds, fault_share=plan.fault_share
    )
    site.known_audio = frozenset(path.name for path in site.audio.rglob("*.mp3"))
    return await checking.before(site)


async def _chaos(site: Site, plan: Plan, history: History, spectacles: Sequence[Spectacle]) -> None:
    until = time.time() + SECONDS
    async with asyncio.TaskGroup() as group:
        for spectacle in spectacles:
            # As with two phones.
            group.create_task(spectacle.go_on(until))
            group.create_task(spectacle.go_on(until))
        for disturbance in plan.disturbances:
            group.create_task(disturb(site, disturbance, history))


async def _calm(site: Site, history: History, spectacles: Sequence[Spectacle]) -> list[str]:
    """Everybody insists on an outcome; then all that is held is let go, by itself."""
    until = time.time() + _CALM_SECONDS
    by_user = dict(zip([owner.performer.user_id for owner in site.owners], spectacles, strict=True))
    await asyncio.gather(*(by_user[each.user_id].insist(each, until) for each in history.requests))
    while (held := await checking.settled(site)) and time.time() < until:  # noqa: ASYNC110 - no events
        await asyncio.sleep(_LOOK_SECONDS)
    while (strange := await _reconciled(site)) and time.time() < until:  # noqa: ASYNC110 - no events
        await asyncio.sleep(_LOOK_SECONDS)
    return held + strange


async def _reconciled(site: Site) -> list[str]:
    answer = await site.admin.post("/v1/admin/voice-pool/reconcile", json={})
    if answer.status_code == 409:
        return ["somebody else reconciles"]
    accepted(answer)
    return await checking.of_provider(site)


def _report(site: Site, plan: Plan, history: History, found: Sequence[str], out: Path) -> str:
    name = f"performances-{site.composition}-{plan.seed}"
    timeline = out / f"{name}.jsonl"
    history.write(timeline, {"at": 0.0, "plan": str(plan).splitlines(), "violations": list(found)})
    for log in site.logs:
        (out / f"{name}-{log.name}").write_bytes(log.read_bytes())
    shown = "\n".join(f"  - {each}" for each in found[:20])
    return f"{site.composition}, {plan}\n{len(found)} violations:\n{shown}\ntimeline: {timeline}"
