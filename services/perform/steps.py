"""The story of a performance, as a list that anyone can read."""

import asyncio
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from services.kernel.errors import ServiceError
from services.perform import saga
from services.perform.domain import (
    AudioSummary,
    Charge,
    Delivery,
    LeasedVoice,
    Note,
    Order,
    Performance,
    Preferences,
    Recording,
    Speaker,
    TimeLimits,
    delivery,
)
from services.perform.errors import AudioNotWhole, TextTooLong
from services.perform.filing import file_name
from services.perform.ports import Clock, Ports
from services.perform.quota import Room
from services.perform.saga import Stage, Step
from services.perform.script import Script
from services.perform.sound import Sound
from services.perform.speaking import Words, speak_or_replace_voice

log = structlog.get_logger()

TEXT_MODELS = Counter(
    "perform_text_models_total",
    "Notes by the model that wrote them, and the models that had been asked before.",
    ["model", "fallback"],
)
FIRST_AUDIO_SECONDS = Histogram(
    "perform_first_audio_seconds",
    "Time from the request to the first byte of audio, also while it waits for a place.",
    # Fine around 300 ms, where a performer starts to notice the wait.
    buckets=(0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1, 1.5, 2, 5),
)
RECORDED_SECONDS = Histogram(
    "perform_recorded_seconds",
    "Length of the audio of recordings that were kept.",
    buckets=(2, 4, 6, 8, 10, 15, 20, 30, 60),
)
RECORDED_BYTES = Counter("perform_recorded_bytes_total", "Bytes of audio of recordings that were kept.")
# A memo of a minute has 1 MB; more is an engine that does not stop.
_MOST_AUDIO_BYTES = 4 << 20


@dataclass(slots=True)
class Take:
    """What one performance has gathered so far: each step adds its part."""

    performance_id: UUID
    user_id: str
    # When it was claimed.
    claimed_at: datetime
    order: Order = field(init=False)
    preferences: Preferences = field(init=False)
    delivery: Delivery = field(init=False)
    voice: LeasedVoice = field(init=False)
    # Leased, and still being made.
    awaits_voice: bool = False
    leased_at: datetime = field(init=False)
    script: Script = field(default_factory=Script)
    # Who goes on with it, when its beginning was there before the rest.
    writing: asyncio.Task[None] | None = None
    # Set with the first audio, unless the speech service is of an older release.
    speaker: Speaker | None = None
    made: AudioSummary = field(init=False)
    recording: Recording = field(init=False)
    charge: Charge | None = None
    sound: Sound = field(default_factory=Sound)
    # All audio is there, or it is being undone: a caller who leaves now changes nothing any more.
    decided: bool = False
    failure: BaseException | None = None
    # There may be audio of it in the store.
    stored: bool = False
    # Its recording may be written down.
    keeping: bool = False
    # Closing it gives its place back.
    place: ExitStack = field(default_factory=ExitStack)
    started_clock: float = field(default_factory=perf_counter)
    # When it got its place.
    placed_clock: float = field(init=False)

    @classmethod
    def left_by(cls, performance: Performance) -> "Take":
        """Of a performance that somebody else began: everything may have been done."""
        return cls(performance.performance_id, performance.user_id, performance.created_at, stored=True)

    @property
    def text(self) -> str:
        """As far as it is written."""
        return self.script.text


class Story:
    """`until_kept` is undone when any of it fails; `after` is only ever finished, never undone."""

    def __init__(self, ports: Ports, room: Room, limits: TimeLimits, now: Clock) -> None:
        self._ports = ports
        self._room = room
        self._now = now
        self._limits = limits

    @property
    def until_kept(self) -> tuple[Stage[Take], ...]:
        """Nothing is paid for before the credits are set aside and a voice is sure to be there."""
        return (
            (
                Step("reserve", self._reserve, undo=self._give_back),
                Step("lease", self._lease, undo=self._release),
                Step("room", self._find_room),
            ),
            (
                Step("compose", self._compose, undo=self._stop_writing),
                Step("await voice", self._await_voice, needed=lambda take: take.awaits_voice),
            ),
            (
                Step("speak", self._speak),
                Step("write", self._write_on, needed=lambda take: take.writing is not None),
            ),
            (Step("store", self._store, undo=self._discard),),
            (Step("keep", self._keep),),
        )

    @property
    def after(self) -> tuple[Stage[Take], ...]:
        return ((Step("settle", self._settle),),)

    async def let_go(self, take: Take) -> None:
        """Of the voice of a memo that is kept. It decides nothing: a lease that stays expires by itself."""
        try:
            await saga.run(((Step("release", self._release),),), take)
        except ServiceError as error:
            performance_id = str(take.performance_id)
            log.warning("performance_left_to_expire", performance_id=performance_id, cause=error.reason)

    async def _reserve(self, take: Take) -> None:
        longest = take.order.longest_text
        take.preferences = await self._ports.credits.reserve(
            take.user_id, take.performance_id, longest, take.claimed_at
        )

    async def _give_back(self, take: Take) -> None:
        await self._ports.credits.release(take.user_id, take.performance_id)

    async def _lease(self, take: Take) -> None:
        voice = await self._ports.voices.begin_lease(take.user_id, take.performance_id)
        take.awaits_voice = voice is None
        if voice is not None:
            take.voice, take.leased_at = voice, self._now()

    async def _await_voice(self, take: Take) -> None:
        """Seconds, when it has to be cloned again; the words are written meanwhile."""
        take.voice = await self._ports.voices.lease(take.user_id, take.performance_id)
        take.leased_at = self._now()

    async def _find_room(self, take: Take) -> None:
        await self._room.check(take.user_id)

    async def _release(self, take: Take) -> None:
        await self._ports.voices.release(take.user_id, take.performance_id)

    async def _compose(self, take: Take) -> None:
        """Its beginning is enough, where the model streams: the rest is written while that is spoken."""
        take.delivery = delivery(take.preferences, take.order.override, self._now())
        notes = self._ports.notes
        if notes.streams and not take.order.topic:
            take.writing = asyncio.create_task(self._write(take))
            await _begun(take.script, take.writing)
            return
        note = await notes.compose(take.order, take.delivery.language, take.user_id)
        _add(take, note.text)
        take.script.end()
        _tell(take, note)

    async def _write(self, take: Take) -> None:
        written = self._ports.notes.write(take.order, take.delivery.language, take.user_id)
        async with aclosing(written) as pieces:
            async for piece in pieces:
                if isinstance(piece, Note):
                    take.script.end()
                    _tell(take, piece)
                else:
                    _add(take, piece)

    async def _write_on(self, take: Take) -> None:
        if take.writing is not None:
            await take.writing

    async def _stop_writing(self, take: Take) -> None:
        if take.writing is not None:
            take.writing.cancel()
            await asyncio.gather(take.writing, return_exceptions=True)

    async def _speak(self, take: Take) -> None:
        made: AudioSummary | None = None
        words = Words(take.performance_id, take.user_id, take.script, take.delivery)
        async with aclosing(speak_or_replace_voice(self._ports, words, take.voice)) as pieces:
            async for piece in pieces:
                if isinstance(piece, AudioSummary):
                    made = piece
                    continue
                if isinstance(piece, LeasedVoice):
                    take.voice, take.leased_at = piece, self._now()
                    continue
                if isinstance(piece, Speaker):
                    take.speaker = piece
                    continue
                if not take.sound.audio:
                    FIRST_AUDIO_SECONDS.observe(perf_counter() - take.started_clock)
                take.sound.add(piece)
                if len(take.sound.audio) > _MOST_AUDIO_BYTES:
                    raise AudioNotWhole("The audio did not end.")
        if made is None or not take.sound.audio:
            raise AudioNotWhole("The audio ended before it was whole.")
        take.made, take.decided = made, True

    async def _store(self, take: Take) -> None:
        take.stored = True
        await self._ports.blobs.put(take.user_id, take.performance_id, bytes(take.sound.audio))

    async def _discard(self, take: Take) -> None:
        """Whoever is refused must not wait for a store that has nothing of theirs."""
        if take.stored:
            await self._ports.blobs.delete(take.user_id, take.performance_id)

    async def _keep(self, take: Take) -> None:
        """Blob first, then this: whoever sees the recording can hear it."""
        take.recording = _recording(take, self._now())
        due_at = take.recording.created_at + self._limits.takeover
        take.keeping = True
        await self._ports.performances.keep(take.recording, due_at)
        RECORDED_SECONDS.observe(take.recording.duration_seconds)
        RECORDED_BYTES.inc(take.recording.size_bytes)

    async def _settle(self, take: Take) -> None:
        kept = take.recording
        take.charge = await self._ports.credits.settle(
            take.user_id, take.performance_id, len(kept.text), kept.model
        )


async def _begun(script: Script, writing: asyncio.Task[None]) -> None:
    """Raises what the writing failed with before there was anything."""
    beginning = asyncio.create_task(script.begun())
    try:
        await asyncio.wait({beginning, writing}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        beginning.cancel()
    if writing.done():
        await writing


def _add(take: Take, piece: str) -> None:
    if len(take.text) + len(piece) > take.order.longest_text:
        raise TextTooLong("The note became longer than notes may be.")
    take.script.add(piece)


def _tell(take: Take, note: Note) -> None:
    TEXT_MODELS.labels(note.model, ",".join(note.fallback_from)).inc()
    log.info(
        "note_composed",
        performance_id=str(take.performance_id),
        text_model=note.model,
        fallback_from=note.fallback_from,
    )


def _recording(take: Take, now: datetime) -> Recording:
    return Recording(
        recording_id=take.performance_id,
        user_id=take.user_id,
        title=take.delivery.title,
        date=take.delivery.date,
        created_at=now,
        duration_seconds=take.made.duration_seconds,
        size_bytes=len(take.sound.audio),
        routine_type=take.order.routine_type,
        text=take.text,
        voice_source=take.voice.source,
        sample_hash=take.voice.sample_hash,
        leased_at=take.leased_at,
        engine=take.voice.engine,
        model=take.speaker.model if take.speaker else take.voice.engine,
        waveform=take.made.waveform,
        filename=file_name(take.delivery.title, take.delivery.date, take.performance_id),
    )
