"""What a caller can ask for: to upload, to hear the sample again, to speak in the voice."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from prometheus_client import Counter

from services.voice.domain import (
    BlobMissing,
    Clone,
    Consent,
    Lease,
    Outcome,
    PinsUnavailable,
    Sample,
    Upload,
    Voice,
    VoiceCloneRequired,
    VoiceSampleNotFound,
    VoiceStoreUnavailable,
)
from services.voice.keeping import Keeping
from services.voice.ports import Blobs, Examiner, NormalisedSample, Pins, Voices
from services.voice.refusals import SampleRefused

log = structlog.get_logger()

UPLOADS = Counter("voice_uploads_total", "Uploads by what came of them.", ["outcome"])
LEASES = Counter("voice_leases_total", "Leases by what came of them.", ["outcome"])

_EVENTS: Final = {"created": "voice_created", "updated": "voice_updated", "unchanged": "voice_unchanged"}
# A voice can be replaced between the reading of its document and of its blob, but hardly twice.
_READINGS: Final = 3
_DIFFERS_SECONDS: Final = 3.0


class Uploading:
    def __init__(self, examiner: Examiner, keeping: Keeping, clock: Callable[[], datetime]) -> None:
        self._examiner = examiner
        self._keeping = keeping
        self._clock = clock

    async def upload(
        self, user_id: str, undo_form: Callable[[], Upload], statement: str, client: str
    ) -> Outcome:
        """Raises a SampleRefused: then nothing is stored, and the voice stays as it was."""
        given_at = self._clock()
        try:
            upload = undo_form()
            sample = await self._examiner.examine(upload.recording)
        except SampleRefused as refusal:
            UPLOADS.labels(refusal.reason).inc()
            log.info("sample_refused", code=refusal.reason)
            raise
        _compare(upload, sample)
        outcome = await self._keeping.keep(user_id, sample, Consent(statement, given_at, client))
        UPLOADS.labels(outcome.action).inc()
        log.info(
            _EVENTS[outcome.action],
            voice_clone_id=outcome.clone.clone_id,
            engine=outcome.clone.engine,
            seconds=round(sample.seconds, 1),
        )
        return outcome


def _compare(upload: Upload, sample: NormalisedSample) -> None:
    """A claim decides nothing; clients whose claims are wrong should be known."""
    if upload.claimed_seconds and abs(upload.claimed_seconds - sample.seconds) > _DIFFERS_SECONDS:
        log.info(
            "sample_claim_differed", claimed_seconds=upload.claimed_seconds, seconds=round(sample.seconds, 1)
        )
    says_mp3 = upload.claimed_mime.lower().startswith(("audio/mpeg", "audio/mp3"))
    if upload.claimed_mime.startswith("audio/") and says_mp3 == sample.transcoded:
        log.info("sample_claim_differed", claimed_mime=upload.claimed_mime[:60], mp3=not sample.transcoded)


async def read_sample(voices: Voices, blobs: Blobs, user_id: str) -> tuple[Sample, Clone | None, bytes]:
    """The user's sample as it is stored, with its clone and its MP3. Raises VoiceSampleNotFound."""
    for _ in range(_READINGS):
        voice = await voices.get(user_id)
        if voice.sample is None:
            raise VoiceSampleNotFound("There is no voice sample.")
        try:
            return voice.sample, voice.clone, await blobs.get(voice.sample.audio)
        except BlobMissing:
            continue
    raise _lost(voice)


class Leasing:
    def __init__(
        self,
        voices: Voices,
        profiles: Blobs,
        pins: Pins,
        lasts: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._voices = voices
        self._profiles = profiles
        self._pins = pins
        self._lasts = lasts
        self._clock = clock

    async def lease(self, user_id: str, performance_id: str) -> Lease:
        """Pinned before it is read, so that who evicts either sees the pin or is seen to have evicted.

        Raises VoiceCloneRequired.
        """
        await self._pin(user_id, performance_id)
        try:
            lease = await self._read(user_id)
        except BaseException:
            LEASES.labels("refused").inc()
            await self.release(user_id, performance_id)
            raise
        LEASES.labels("granted").inc()
        return lease

    async def release(self, user_id: str, performance_id: str) -> None:
        try:
            await self._pins.unpin(user_id, performance_id)
        except PinsUnavailable as error:
            # It expires by itself.
            log.warning("voice_unpin_skipped", performance_id=performance_id, cause=str(error))

    async def _pin(self, user_id: str, performance_id: str) -> None:
        try:
            await self._pins.pin(user_id, performance_id, self._clock() + self._lasts)
        except PinsUnavailable as error:
            # The performer is on stage, and the lease hands out all that is needed to speak.
            log.warning("voice_pin_skipped", performance_id=performance_id, cause=str(error))

    async def _read(self, user_id: str) -> Lease:
        for _ in range(_READINGS):
            voice = await self._voices.get(user_id)
            if voice.sample is None or voice.clone is None:
                raise VoiceCloneRequired("There is no voice to speak in yet.")
            try:
                profile = await self._profiles.get(voice.clone.profile) if voice.clone.profile else b""
            except BlobMissing:
                continue
            return _lease(voice.sample, voice.clone, profile, voice.fence)
        raise _lost(voice)


def _lease(sample: Sample, clone: Clone, profile: bytes, fence: int) -> Lease:
    return Lease(clone.engine, clone.engine_voice_id, profile, clone.voice_source, sample.hash, fence)


def _lost(voice: Voice) -> VoiceStoreUnavailable:
    """A document names a blob that is not there: somebody must look at the blob store."""
    log.error("voice_blob_lost", revision=voice.revision)
    return VoiceStoreUnavailable("The voice cannot be read right now.")
