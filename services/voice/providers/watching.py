"""Counts what providers do and how they fail."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Counter, Histogram

from services.kernel.errors import ServiceError
from services.voice.ports import (
    Allowance,
    ClonedVoice,
    HeldVoice,
    NormalisedSample,
    PooledProvider,
    Provider,
    ProviderVoiceMissing,
)

CLONE_SECONDS = Histogram(
    "voice_clone_seconds",
    "Time a provider took to make a voice.",
    ["provider"],
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20),
)
CALL_SECONDS = Histogram(
    "voice_provider_seconds",
    "Time a provider took to do what it was asked, by what came of it: ok, or the failure's class.",
    ["provider", "call", "class"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 12, 20),
)
ERRORS = Counter(
    "voice_provider_errors_total", "Failures of providers, by what they were.", ["provider", "class"]
)


class Watched:
    """A provider as it is, with its figures kept."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.name = provider.name
        self.engine = provider.engine
        self.voice_source = provider.voice_source
        self.pooled = provider.pooled

    async def clone(self, sample: NormalisedSample, user_id: str, attempt_id: str) -> ClonedVoice:
        with CLONE_SECONDS.labels(self.name).time(), self._watched("clone"):
            return await self._provider.clone(sample, user_id, attempt_id)

    async def discard(self, engine_voice_id: str) -> None:
        with self._watched("discard"):
            await self._provider.discard(engine_voice_id)

    @contextmanager
    def _watched(self, call: str) -> Iterator[None]:
        began, outcome = perf_counter(), "given_up"
        try:
            yield
            outcome = "ok"
        except ServiceError as error:
            outcome = type(error).__name__
            if not isinstance(error, ProviderVoiceMissing):
                ERRORS.labels(self.name, outcome).inc()
            raise
        finally:
            CALL_SECONDS.labels(self.name, call, outcome).observe(perf_counter() - began)


class WatchedPlaces(Watched):
    def __init__(self, provider: PooledProvider) -> None:
        super().__init__(provider)
        self._places = provider

    async def held(self) -> Sequence[HeldVoice]:
        with self._watched("held"):
            return await self._places.held()

    async def has(self, engine_voice_id: str) -> bool:
        with self._watched("has"):
            return await self._places.has(engine_voice_id)

    async def rename(self, engine_voice_id: str, name: str) -> None:
        with self._watched("rename"):
            await self._places.rename(engine_voice_id, name)

    async def allowance(self) -> Allowance:
        with self._watched("allowance"):
            return await self._places.allowance()
