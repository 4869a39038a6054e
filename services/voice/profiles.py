"""Decrypted profiles, kept for a while so that most leases read one document and nothing else."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from services.voice.domain import SealedBlob
from services.voice.ports import Blobs

PROFILE_READS = Counter("voice_profile_reads_total", "Profiles that leases needed.", ["found"])
_KEPT: Final = PROFILE_READS.labels("kept")
_OPENED: Final = PROFILE_READS.labels("opened")


class Profiles:
    """Stands in front of the blob store. The least recently used profiles go first, and none stays
    longer than `seconds`; what is deleted here is forgotten at once.
    """

    def __init__(self, blobs: Blobs, most_bytes: int, seconds: float, clock: Callable[[], float]) -> None:
        self._blobs = blobs
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, blob: SealedBlob) -> bytes:
        """Raises BlobMissing. A blob's content never changes: a new clone has a new name."""
        found = self._kept.get(blob.name)
        if found and self._clock() < found[0]:
            self._kept.move_to_end(blob.name)
            _KEPT.inc()
            return found[1]
        profile = await self._blobs.get(blob)
        _OPENED.inc()
        self._forget(blob.name)
        self._kept[blob.name] = (self._clock() + self._seconds, profile)
        self._bytes += len(profile)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))
        return profile

    async def put(self, name: str, content: bytes) -> SealedBlob:
        return await self._blobs.put(name, content)

    async def delete(self, name: str) -> None:
        self._forget(name)
        await self._blobs.delete(name)

    def _forget(self, name: str) -> None:
        _, profile = self._kept.pop(name, (0.0, b""))
        self._bytes -= len(profile)
