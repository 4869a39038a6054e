"""The users of a run: each with a sample of its own, written down as an upload of some other day left it.

Examining a recording takes a second of a core, so only a few of them upload in a run.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from uuid import uuid4

from pymongo import AsyncMongoClient

from services.synthesis.engines.tone import LOWEST_HZ, MARKERS, STEP_HZ
from services.voice.blobs import SealedBlobs, open_store, read_keys
from services.voice.domain import Clone, Consent, Sample, Voice
from services.voice.mongo import MongoVoices
from tests import samples
from tests.chaos.voice_pool.plan import USERS
from tests.chaos.voice_pool.site import Site

# As many come without a sample.
STRANGERS: Final = 5
# One in so many has no clone at all, not even the embedded engine's: making one takes a while.
EMBEDDED: Final = 4
_PIECE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Recorded:
    mp3: bytes
    # As the provider's audit tells it.
    mp3_sha256: str
    sample_hash: str
    # What the embedded engine learned of it.
    profile: bytes


@cache
def recorded(number: int) -> Recorded:
    """A second of speech that no other user has."""
    reading = samples.signal(samples.READING.read_bytes())
    start = int((1 + 0.5 * number) * samples.RATE) % (len(reading) - samples.RATE)
    piece = reading[start : start + int(_PIECE_SECONDS * samples.RATE)]
    mp3 = samples.encoded(piece, "mp3")
    marker = LOWEST_HZ + STEP_HZ * (number % MARKERS)
    return Recorded(
        mp3,
        hashlib.sha256(mp3).hexdigest(),
        hashlib.sha256(b"%d" % number + mp3).hexdigest(),
        b"newvisions-tone/1 %d Hz" % marker,
    )


@cache
def recordings() -> tuple[bytes, ...]:
    """For real uploads: 30 s of two people. A wav is the quickest to look into."""
    return tuple(samples.speech(speaker, "wav", 30.4) for speaker in (0, 2))


async def moved_in(site: Site, seed: int) -> dict[str, Recorded | None]:
    """Users by id, with the sample that each of them has."""
    users: dict[str, Recorded | None] = {}
    blobs = SealedBlobs(open_store(site.blobs.as_uri()), read_keys(site.key_file))
    async with AsyncMongoClient[dict[str, Any]](site.mongo_url, tz_aware=True) as mongo:
        voices = MongoVoices(mongo[site.database]["voices"])
        for number in range(USERS):
            user_id = f"user-{seed}-{number}"
            users[user_id] = had = recorded(number) if number >= STRANGERS else None
            if had:
                audio = await blobs.put(f"samples/{uuid4()}", had.mp3)
                now = datetime.now(UTC)
                consent = Consent("I agree.", now, "chaos")
                sample = Sample(had.sample_hash, _PIECE_SECONDS, len(had.mp3), False, audio, consent)
                clone = await _embedded(blobs, had, now) if number % EMBEDDED else None
                stored = Voice(user_id, revision=1, fence=1, sample=sample, clone=clone, changed_at=now)
                assert await voices.replace(Voice(user_id), stored)
    return users


async def _embedded(blobs: SealedBlobs, had: Recorded, now: datetime) -> Clone:
    """As it is of who came before there was a provider."""
    clone_id = str(uuid4())
    profile = await blobs.put(f"profiles/{clone_id}", had.profile)
    return Clone(clone_id, "local", "tone", clone_id, "local_clone", False, profile, now)


async def documents(site: Site) -> list[dict[str, Any]]:
    """All voices as they are stored."""
    async with AsyncMongoClient[dict[str, Any]](site.mongo_url, tz_aware=True) as mongo:
        return await mongo[site.database]["voices"].find({}).to_list()
