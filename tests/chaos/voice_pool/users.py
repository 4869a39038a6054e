"""What users do, each for itself and all at once: perform, open the list, change their voice, erase it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final
from uuid import uuid4

import grpc
from google.api.httpbody_pb2 import HttpBody

from newvisions.voice.v1 import voice_pool_service_pb2 as pool_pb
from newvisions.voice.v1 import voice_service_pb2 as pb
from services.kernel.statuses import api_error
from tests.chaos.voice_pool.audience import recordings
from tests.chaos.voice_pool.site import Replica, Site, now
from tests.chaos.voice_pool.timeline import Call, Hold

ADMIN: Final = (("x-user-id", "chaos-admin"), ("x-user-roles", "admin"))
# Longer than every freeze and outage.
SECONDS: Final = 12.0
# What may befall a call while things die around it. Nothing else may, and "INTERNAL" never.
EXCUSED: Final = frozenset(
    {
        "UNAVAILABLE",
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "VOICE_STORE_UNAVAILABLE",
        "VOICE_CHANGED_MEANWHILE",
        "VOICE_SLOTS_EXHAUSTED",
        "VOICE_PROVIDER_UNAVAILABLE",
        "VOICE_PROVIDER_BUSY",
        "VOICE_OUTCOME_UNKNOWN",
        "VOICE_PLACES_TAKEN",
        "VOICE_ADDS_SPENT",
        "SAMPLE_QUEUE_FULL",
    }
)

_HABITS: Final = {
    "perform": 60,
    "perform_twice": 10,
    "touch": 12,
    "hang_up": 6,
    "clone": 4,
    "look": 6,
    "administer": 5,
    "erase": 1,
    "leave": 1,
}


class User:
    """One performer. `has_sample` is None while nobody can know."""

    def __init__(self, site: Site, user_id: str, seed: int, *, has_sample: bool) -> None:
        self.user_id = user_id
        self.has_sample: bool | None = has_sample
        self._site = site
        self._chance = Random(f"{seed}/{user_id}")

    async def live(self, until: float, uploads: asyncio.Semaphore) -> None:
        await asyncio.sleep(self._chance.uniform(0, 0.4))
        while now() < until:
            wants_another = self._chance.random() < 0.02
            if (wants_another or self.has_sample is not True) and not uploads.locked():
                await uploads.acquire()
                await self.upload()
            (habit,) = self._chance.choices(list(_HABITS), list(_HABITS.values()))
            await getattr(self, habit)()
            await asyncio.sleep(self._chance.uniform(0, 0.15))

    async def perform(self, hold_seconds: float = 0.5) -> Hold | None:
        """Lease, speak for a while, perhaps renew, release."""
        performance = str(uuid4())
        hold = await self.lease(performance)
        if hold is None:
            return None
        await asyncio.sleep(self._chance.uniform(0, hold_seconds))
        again = await self.lease(performance) if self._chance.random() < 0.15 else None
        if hold.voice_source == "provider_voice_id" and hold.engine_voice_id in self._site.timeline.stolen:
            await self.report_missing(hold)
        for each in (hold, again):
            if each:
                each.given_up = now()
        async with self._calling("release") as (call, replica):
            request = pb.ReleaseVoiceRequest(user_id=self.user_id, performance_id=performance)
            await _ok(call, replica.voice.ReleaseVoice(request, timeout=SECONDS))
        return hold

    async def perform_twice(self) -> None:
        await asyncio.gather(self.perform(), self.perform())

    async def lease(self, performance: str, seconds: float = SECONDS) -> Hold | None:
        knew = self.has_sample
        async with self._calling("lease", knew=knew) as (call, replica):
            request = pb.LeaseVoiceRequest(user_id=self.user_id, performance_id=performance)
            lease = await _ok(call, replica.voice.LeaseVoice(request, timeout=seconds))
        if lease is None:
            return None
        hold = Hold(
            self.user_id,
            lease.engine,
            lease.engine_voice_id,
            lease.voice_source,
            lease.sample_hash,
            lease.profile,
            lease.fence,
            call.began,
            call.ended,
        )
        self._site.timeline.holds.append(hold)
        return hold

    async def hang_up(self) -> None:
        """A caller who loses patience at any moment; the performance never begins."""
        performance = str(uuid4())
        hold = await self.lease(performance, self._chance.choice((0.01, 0.03, 0.1, 0.25)))
        if hold:
            hold.given_up = hold.granted
        async with self._calling("release") as (call, replica):
            request = pb.ReleaseVoiceRequest(user_id=self.user_id, performance_id=performance)
            await _ok(call, replica.voice.ReleaseVoice(request, timeout=SECONDS))

    async def report_missing(self, hold: Hold) -> None:
        async with self._calling("report_missing") as (call, replica):
            request = pb.ReportMissingVoiceRequest(
                user_id=self.user_id, engine_voice_id=hold.engine_voice_id, fence=hold.fence
            )
            await _ok(call, replica.voice.ReportMissingVoice(request, timeout=SECONDS))

    async def touch(self) -> None:
        async with self._calling("touch") as (call, replica):
            await _ok(call, replica.voice.TouchVoice(pb.TouchVoiceRequest(), **self._me()))

    async def look(self) -> None:
        async with self._calling("look") as (call, replica):
            meta = await _ok(call, replica.voice.GetVoiceMeta(pb.GetVoiceMetaRequest(), **self._me()))
        if meta is not None and meta.voice_clone_id:
            self._site.timeline.clones[self.user_id] = meta.voice_clone_id

    async def clone(self) -> None:
        async with self._calling("clone") as (call, replica):
            cloned = await _ok(call, replica.voice.CloneVoice(pb.CloneVoiceRequest(), **self._me()))
        if cloned is not None:
            self._site.timeline.clones[self.user_id] = cloned.voice_clone_id

    async def upload(self) -> None:
        recording = self._chance.choice(recordings())
        async with self._changing("upload", True) as (call, replica):
            request = pb.UploadVoiceFileRequest(
                file=HttpBody(content_type="audio/wav", data=recording), consent="I agree."
            )
            done = await _ok(call, replica.voice.UploadVoiceFile(request, **self._me()))
            call.facts["sample_hash"] = done.hash if done else ""

    async def erase(self) -> None:
        async with self._changing("erase", False) as (call, replica):
            await _ok(call, replica.voice.DeleteVoice(pb.DeleteVoiceRequest(), **self._me()))

    async def leave(self) -> None:
        """The whole user goes, and comes back with the next upload."""
        async with self._changing("leave", False) as (call, replica):
            request = pb.EraseUserRequest(user_id=self.user_id, erasure_id=str(uuid4()))
            await _ok(call, replica.voice.EraseUser(request, timeout=SECONDS))

    async def administer(self) -> None:
        """An administrator takes somebody's place away, whoever performs there or not."""
        seen = self._site.timeline.clones
        if not seen:
            return
        user_id, clone_id = self._chance.choice(list(seen.items()))
        evict = self._chance.random() < 0.7
        async with self._calling("evict" if evict else "remove", whom=user_id) as (call, replica):
            if evict:
                request: Any = pool_pb.EvictVoiceRequest(voice_id=clone_id)
                answer = replica.pool.EvictVoice(request, metadata=ADMIN, timeout=SECONDS)
            else:
                request = pool_pb.DeleteVoiceCloneRequest(voice_id=clone_id)
                answer = replica.pool.DeleteVoiceClone(request, metadata=ADMIN, timeout=SECONDS)
            await _ok(call, answer)

    @asynccontextmanager
    async def _changing(self, what: str, then: bool) -> AsyncIterator[tuple[Call, Replica]]:
        """Of the sample: until the answer came nobody knows what there is."""
        before, self.has_sample = self.has_sample, None
        async with self._calling(what) as (call, replica):
            yield call, replica
        if call.answered:
            self.has_sample = then
        elif then and before:
            # Whatever became of the new sample: there is one.
            self.has_sample = True

    @asynccontextmanager
    async def _calling(self, what: str, **facts: Any) -> AsyncIterator[tuple[Call, Replica]]:
        replica = self._chance.choice(list(self._site.replicas.values()))
        with self._site.timeline.call(self.user_id, what, replica=replica.name, **facts) as call:
            yield call, replica

    def _me(self) -> dict[str, Any]:
        return {"metadata": (("x-user-id", self.user_id),), "timeout": SECONDS}


async def _ok(call: Call, answer: Awaitable[Any]) -> Any:
    """The answer, or None after a failure, whose reason is noted."""
    try:
        found = await answer
    except grpc.aio.AioRpcError as failure:
        error, _ = api_error(failure)
        call.outcome = error.error if error else failure.code().name
        call.facts["message"] = (failure.details() or "")[:200]
        return None
    call.outcome = "ok"
    return found
