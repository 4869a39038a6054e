"""What is done to a site while its users are at work."""

import asyncio
import signal
from random import Random

import grpc
import httpx

from newvisions.voice.v1 import voice_pool_service_pb2 as pool_pb
from services.kernel.statuses import api_error
from services.voice.providers.elevenlabs import USER_LABEL
from tests.chaos.voice_pool.plan import Disturbance
from tests.chaos.voice_pool.site import Site, now
from tests.chaos.voice_pool.users import ADMIN


async def disturb(site: Site, what: Disturbance, began: float, chance: Random) -> None:
    await asyncio.sleep(max(0.0, began + what.at - now()))
    match what.what:
        case "kill":
            await _kill(site, what)
        case "freeze":
            await _freeze(site, what)
        case "steal":
            await _steal(site, chance)
        case "reconcile":
            await _reconcile(site, chance)


async def _kill(site: Site, what: Disturbance) -> None:
    async with site.alone(what.whom):
        with site.timeline.outage(what.whom):
            await site.kill(what.whom)
            await asyncio.sleep(what.lasts)
            await site.start(what.whom)


async def _freeze(site: Site, what: Disturbance) -> None:
    """A pause as long garbage collections, swapping and moved machines make them."""
    async with site.alone(what.whom):
        with site.timeline.outage(f"{what.whom} frozen"):
            replica = site.replicas[what.whom]
            replica.signal(signal.SIGSTOP)
            await asyncio.sleep(what.lasts)
            replica.signal(signal.SIGCONT)


async def _steal(site: Site, chance: Random) -> None:
    """Somebody removes one of our voices by hand."""
    there = [voice for voice in (await site.simulator.audit())["voices"] if USER_LABEL in voice["labels"]]
    if not there:
        return
    voice_id = chance.choice(there)["voice_id"]
    site.timeline.stolen.add(voice_id)
    async with httpx.AsyncClient(base_url=site.simulator.url, headers={"xi-api-key": "by hand"}) as http:
        try:
            await http.delete(f"/v1/voices/{voice_id}")
        except httpx.HTTPError:
            # One of the faults; it may be gone or not.
            return


async def _reconcile(site: Site, chance: Random) -> None:
    replica = chance.choice(list(site.replicas.values()))
    request = pool_pb.ReconcileVoicePoolRequest(dry_run=chance.random() < 0.3)
    with site.timeline.call("", "reconcile", replica=replica.name) as call:
        try:
            await replica.pool.ReconcileVoicePool(request, metadata=ADMIN, timeout=15)
            call.outcome = "ok"
        except grpc.aio.AioRpcError as failure:
            error, _ = api_error(failure)
            call.outcome = error.error if error else failure.code().name
            call.facts["message"] = (failure.details() or "")[:200]
