"""Protobuf in, protobuf out, for operators."""

from typing import Any

from newvisions.voice.v1 import voice_pool_service_pb2 as pb
from newvisions.voice.v1.voice_pool_service_pb2_grpc import VoicePoolServiceServicer
from services.voice.clones import USUAL_PAGE, Clones, OwnedClone, Pooled, PoolStatus, remove_clone
from services.voice.domain import VoicePoolDisabled, VoiceStoreUnavailable
from services.voice.keeping import Keeping
from services.voice.ports import ProviderBusy, ProviderRefusedUs, ProviderUnavailable
from services.voice.slots import SlotState


class VoicePoolServicer(VoicePoolServiceServicer):
    def __init__(self, clones: Clones, keeping: Keeping, pooled: Pooled | None) -> None:
        """`pooled` is None when voices are kept by the embedded engine only."""
        self._clones = clones
        self._keeping = keeping
        self._pooled = pooled

    async def GetVoicePoolStatus(
        self, _: pb.GetVoicePoolStatusRequest, __: Any
    ) -> pb.GetVoicePoolStatusResponse:
        if self._pooled is None:
            return pb.GetVoicePoolStatusResponse()
        return _status(await self._pooled.view.status())

    async def GetProviderStatus(
        self, _: pb.GetProviderStatusRequest, __: Any
    ) -> pb.GetProviderStatusResponse:
        if self._pooled is None:
            return pb.GetProviderStatusResponse()
        try:
            allowance = await self._pooled.provider.allowance()
        except (ProviderBusy, ProviderUnavailable, ProviderRefusedUs) as error:
            return pb.GetProviderStatusResponse(configured=True, reason=error.reason)
        return pb.GetProviderStatusResponse(
            configured=True,
            available=True,
            voice_limit=allowance.places,
            voices_used=allowance.places_taken,
        )

    async def EvictVoice(self, request: pb.EvictVoiceRequest, _: Any) -> pb.EvictVoiceResponse:
        self._enabled()
        removed = await self._clones.evict(request.voice_id)
        return pb.EvictVoiceResponse(
            voice_id=removed.voice_id, user_id=removed.user_id, removed=removed.confirmed
        )

    async def ReconcileVoicePool(
        self, request: pb.ReconcileVoicePoolRequest, _: Any
    ) -> pb.ReconcileVoicePoolResponse:
        told = await self._enabled().reconciling.reconcile(dry_run=request.dry_run)
        return pb.ReconcileVoicePoolResponse(
            dry_run=told.dry_run,
            found=told.found,
            adopted=told.adopted,
            orphans_deleted=told.orphans_deleted,
            missing=told.missing,
            renamed=told.renamed,
            places_freed=told.places_freed,
            places_restored=told.places_restored,
            deletions_retried=told.deletions_retried,
            pending=told.pending,
        )

    async def ListVoiceClones(self, request: pb.ListVoiceClonesRequest, _: Any) -> pb.ListVoiceClonesResponse:
        found, following = await self._clones.page(request.page_token, request.page_size or USUAL_PAGE)
        return pb.ListVoiceClonesResponse(clones=[_clone(each) for each in found], next_page_token=following)

    async def GetVoiceClone(self, request: pb.GetVoiceCloneRequest, _: Any) -> pb.GetVoiceCloneResponse:
        return pb.GetVoiceCloneResponse(clone=_clone(await self._clones.find(request.voice_id)))

    async def DeleteVoiceClone(
        self, request: pb.DeleteVoiceCloneRequest, _: Any
    ) -> pb.DeleteVoiceCloneResponse:
        removed = await remove_clone(self._clones, self._keeping, request.voice_id)
        return pb.DeleteVoiceCloneResponse(removed=removed.confirmed)

    def _enabled(self) -> Pooled:
        if self._pooled is None:
            raise VoicePoolDisabled("Voices are kept by the embedded engine only.")
        return self._pooled


def _status(status: PoolStatus) -> pb.GetVoicePoolStatusResponse:
    if status.pinned is None or status.reuse_ratio is None:
        raise VoiceStoreUnavailable("It is not known who performs right now.")
    ledger = status.ledger
    return pb.GetVoicePoolStatusResponse(
        provider=status.provider,
        capacity=ledger.capacity or 0,
        size=len(ledger.slots),
        in_flight=status.count(SlotState.ADDING),
        pinned=status.pinned,
        reuse_ratio=status.reuse_ratio,
        evictions=ledger.evictions,
        creations=ledger.creations,
        add_budget=pb.AddBudget(limit=ledger.most_adds, used=ledger.adds_spent, resets_at=ledger.renewed_at),
        last_reconcile=ledger.reconciled_at,
        orphans=ledger.orphans,
        deletion_pending=status.count(SlotState.LEAVING),
    )


def _clone(owned: OwnedClone) -> pb.VoiceClone:
    clone = owned.clone
    return pb.VoiceClone(
        voice_id=clone.clone_id,
        user_id=owned.user_id,
        provider=clone.provider,
        voice_source=clone.voice_source,
        in_pool=clone.in_pool,
        made_at=clone.made_at,
        last_used_at=owned.last_used_at,
    )
