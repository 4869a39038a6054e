"""Uploading a recording, and cloning again from what was uploaded."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog
from prometheus_client import Counter

from services.voice.domain import Consent, Outcome, Upload
from services.voice.keeping import Keeping
from services.voice.ports import Examiner, NormalisedSample
from services.voice.refusals import SampleRefused
from services.voice.works import outcome_of

log = structlog.get_logger()

UPLOADS = Counter("voice_uploads_total", "Uploads by what came of them.", ["outcome"])

# A promotion is told where it happens, because performances promote as well.
_EVENTS: Final = {"created": "voice_created", "updated": "voice_updated", "unchanged": "voice_unchanged"}
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
        # Of an upload that is being examined nothing is written down: an erasure shows by what is missing.
        replaces = await self._keeping.has_sample(user_id)
        try:
            upload = undo_form()
            sample = await self._examiner.examine(upload.recording)
        except SampleRefused as refusal:
            UPLOADS.labels(refusal.reason).inc()
            log.info("sample_refused", code=refusal.reason)
            raise
        _compare(upload, sample)
        consent = Consent(statement, given_at, client)
        outcome = await self._keeping.keep(user_id, sample, consent, replaces=replaces)
        UPLOADS.labels(outcome.action).inc()
        if outcome.action in _EVENTS:
            log.info(
                _EVENTS[outcome.action],
                voice_clone_id=outcome.clone.clone_id,
                engine=outcome.clone.engine,
                seconds=round(sample.seconds, 1),
            )
        return outcome

    async def clone(self, user_id: str) -> Outcome:
        """Raises VoiceSampleNotFound, and VoiceSlotsExhausted whatever the overflow."""
        return await outcome_of(self._keeping.regain(user_id))


def _compare(upload: Upload, sample: NormalisedSample) -> None:
    """A claim decides nothing; clients whose claims are wrong should be known."""
    if upload.claimed_seconds and abs(upload.claimed_seconds - sample.seconds) > _DIFFERS_SECONDS:
        log.info(
            "sample_claim_differed", claimed_seconds=upload.claimed_seconds, seconds=round(sample.seconds, 1)
        )
    says_mp3 = upload.claimed_mime.lower().startswith(("audio/mpeg", "audio/mp3"))
    if upload.claimed_mime.startswith("audio/") and says_mp3 == sample.transcoded:
        log.info("sample_claim_differed", claimed_mime=upload.claimed_mime[:60], mp3=not sample.transcoded)
