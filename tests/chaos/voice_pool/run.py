"""One run: what a seed plans, done to a site; everything then calm; one reconciliation; the verdict."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any, Final

import grpc
from pymongo import AsyncMongoClient

from newvisions.voice.v1 import voice_pool_service_pb2 as pool_pb
from services.kernel.statuses import api_error
from services.voice.mongo_slots import MongoSlots
from services.voice.providers.elevenlabs import USER_LABEL
from services.voice.slots import SlotState
from tests.chaos.seeds import Broken
from tests.chaos.voice_pool import checking
from tests.chaos.voice_pool.audience import Recorded, documents, moved_in
from tests.chaos.voice_pool.checking import Observed
from tests.chaos.voice_pool.disturbing import disturb
from tests.chaos.voice_pool.plan import PLACES, SECONDS, Plan, plan_of
from tests.chaos.voice_pool.site import ATTEMPT_SECONDS, UNKNOWN_SECONDS, Replica, Site, now
from tests.chaos.voice_pool.users import ADMIN, User

# Another replica may be at it, or have been killed at it.
_RECONCILE_SECONDS: Final = 20


async def play(site: Site, seed: int, out: Path) -> dict[str, Any]:
    """Figures of a run in which everything held. Raises Broken."""
    plan, clock = plan_of(seed), [perf_counter()]
    async with site.run(plan):
        users = await moved_in(site, seed)
        clock.append(perf_counter())
        await _chaos(site, plan, users)
        clock.append(perf_counter())
        calm = await _calm(site, plan)
        clock.append(perf_counter())
        seen = Observed(plan, site.timeline, await site.simulator.audit(), users)
        found = checking.violations(seen, site.logs) + calm
        found += checking.unsettled(seen, await documents(site), *await _told(site))
        found += checking.strange_profiles(seen)
        found += await _everybody_performs(site, users)
        last = Observed(plan, site.timeline, await site.simulator.audit(), users)
        found += [each for each in checking.violations(last, site.logs) if each not in found]
    if found:
        raise Broken(_report(site, last, found, out))
    clock.append(perf_counter())
    return _figures(last) | {"seconds": [round(b - a, 1) for a, b in pairwise(clock)]}


async def _chaos(site: Site, plan: Plan, users: Mapping[str, Recorded | None]) -> None:
    await site.simulator.share_faults(plan.fault_share)
    began = now()
    uploads = asyncio.Semaphore(plan.uploads)
    performers = [
        User(site, user_id, plan.seed, has_sample=had is not None) for user_id, had in users.items()
    ]
    async with asyncio.TaskGroup() as group:
        for performer in performers:
            group.create_task(performer.live(began + SECONDS, uploads))
        for number, disturbance in enumerate(plan.disturbances):
            chance = Random(f"{plan.seed}/{number}")
            group.create_task(disturb(site, disturbance, began, chance))
    await site.simulator.share_faults(0.0)


async def _calm(site: Site, plan: Plan) -> list[str]:
    """After the time in which something begun may still take effect, one pass puts everything right."""
    await asyncio.sleep(max(ATTEMPT_SECONDS, UNKNOWN_SECONDS) + 0.3)
    replica = Random(0).choice(list(site.replicas.values()))
    answer = await _reconciled(replica)
    # A voice whose name costs an add that is not there keeps the name that it has.
    left = answer.pending and not plan.rename
    return [f"one pass left {answer.pending} to another"] if left else []


async def _reconciled(replica: Replica, *, dry_run: bool = False) -> Any:
    request = pool_pb.ReconcileVoicePoolRequest(dry_run=dry_run)
    async with asyncio.timeout(_RECONCILE_SECONDS):
        while True:
            try:
                return await replica.pool.ReconcileVoicePool(request, metadata=ADMIN, timeout=30)
            except grpc.aio.AioRpcError as failure:
                error, _ = api_error(failure)
                if error is None or error.error != "RECONCILE_UNDER_WAY":
                    raise
                await asyncio.sleep(0.1)


async def _told(site: Site) -> tuple[dict[str, Any], dict[str, str]]:
    """What an administrator is told, and whose voices the places are said to hold."""
    replica = next(iter(site.replicas.values()))
    status = await replica.pool.GetVoicePoolStatus(
        pool_pb.GetVoicePoolStatusRequest(), metadata=ADMIN, timeout=10
    )
    async with AsyncMongoClient[dict[str, Any]](site.mongo_url, tz_aware=True) as mongo:
        (name,) = [each for each in await mongo[site.database].list_collection_names() if "pool" in each]
        ledger = await MongoSlots(mongo[site.database][name], "elevenlabs").read()
    held = {
        slot.engine_voice_id: slot.user_id if slot.state is SlotState.HELD else f"{slot.user_id} {slot.state}"
        for slot in ledger.slots
    }
    names = ("orphans", "in_flight", "deletion_pending", "size")
    return {name: getattr(status, name) for name in names}, held


async def _everybody_performs(site: Site, users: Mapping[str, Recorded | None]) -> list[str]:
    """In calm, who has a sample has a voice."""
    stored = {document["_id"]: "sample" in document for document in await documents(site)}
    found = []

    # A few at a time: who has no clone at all waits for the embedded engine.
    turns = asyncio.Semaphore(6)

    async def perform(user_id: str) -> None:
        performer = User(site, user_id, -1, has_sample=stored.get(user_id, False))
        async with turns:
            hold = await performer.perform(hold_seconds=0)
        if (hold is not None) != stored.get(user_id, False):
            last = [call for call in site.timeline.calls if call.user_id == user_id][-1]
            found.append(f"in calm, {user_id} has a sample: {user_id in stored}; was told {last.outcome}")

    await asyncio.gather(*map(perform, users))
    return found


def _figures(seen: Observed) -> dict[str, Any]:
    holds = seen.timeline.holds
    return {
        "calls": len(seen.timeline.calls),
        "leases": len(holds),
        "at_provider": sum(hold.voice_source == "provider_voice_id" for hold in holds),
        "adds": seen.audit["adds"],
        "deletes": seen.audit["deletes"],
        "most": seen.audit["most_voices_at_once"] - seen.plan.foreign,
        "faults": sum(seen.audit["faults"].values()),
        "places": PLACES,
    }


def _report(site: Site, seen: Observed, found: list[str], out: Path) -> str:
    timeline = out / f"seed-{seen.plan.seed}.jsonl"
    site.timeline.write(timeline, str(seen.plan), seen.audit["effects"], found)
    for log in site.logs:
        if log.exists():
            (out / f"seed-{seen.plan.seed}-{log.name}").write_bytes(log.read_bytes())
    shown = "\n".join(f"  - {each}" for each in found[:20])
    ours = sorted(voice["labels"][USER_LABEL] for voice in seen.ours)
    return f"{seen.plan}\n{len(found)} violations:\n{shown}\nat the provider: {ours}\ntimeline: {timeline}"
