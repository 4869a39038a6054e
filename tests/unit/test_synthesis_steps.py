"""A memo costs few steps however small the engine's chunks are, and nobody waits for it to begin."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest

from services.synthesis.ambience import Ambience
from services.synthesis.domain import EnrolledVoice, Order, Piece, Utterance
from services.synthesis.mixing import Mixing
from services.synthesis.seats import Seats
from services.synthesis.usecases import Desk, speak_memo

RATE = 24_000
SECONDS = 6
ORDER = Order("trickle", Utterance("It was the best of times.", "en"), EnrolledVoice("ada"))


class Trickle:
    """Says the same in chunks of any size; stops halfway when it is told to."""

    name, sample_rate = "trickle", RATE

    def __init__(self, chunk_bytes: int, *, hangs_after_first: bool = False) -> None:
        self._chunk_bytes = chunk_bytes
        self._hangs = hangs_after_first

    async def start(self) -> None:
        """Nothing to load."""

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        return b""

    async def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        tone = 0.2 * np.sin(2 * np.pi * 220 * np.arange(SECONDS * RATE) / RATE)
        pcm = (tone * 32767).astype("<i2").tobytes()
        for start in range(0, len(pcm), self._chunk_bytes):
            yield pcm[start : start + self._chunk_bytes]
            if self._hangs:
                await asyncio.Event().wait()

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(scope="module")
async def desk() -> AsyncIterator[Desk]:
    with Ambience().lent() as loops:
        mixing = Mixing(1, loops)
        await mixing.start()
        yield Desk(Seats(1), mixing)
        await mixing.close()


async def pieces(desk: Desk, engine: Trickle) -> list[Piece]:
    async with aclosing(speak_memo({"trickle": engine}, desk, ORDER)) as memo:
        return [piece async for piece in memo]


def audio(made: list[Piece]) -> bytes:
    return b"".join(piece.audio for piece in made)


async def test_small_chunks_wait_for_each_other_and_sound_the_same(desk: Desk) -> None:
    at_once = await pieces(desk, Trickle(SECONDS * RATE * 2))
    trickled = await pieces(desk, Trickle(1001))
    assert audio(trickled) == audio(at_once)
    # 288 chunks; a share of what was heard before, and at most a second.
    assert len(trickled) < 25
    assert trickled[-1].summary == at_once[-1].summary


async def test_the_first_audio_waits_for_no_second_chunk(desk: Desk) -> None:
    async with aclosing(speak_memo({"trickle": Trickle(600, hangs_after_first=True)}, desk, ORDER)) as memo:
        async with asyncio.timeout(10):
            first = await anext(memo)
    assert first.audio
    assert first.content_type == "audio/mpeg"


async def test_a_long_chunk_is_sent_whole(desk: Desk) -> None:
    """An engine that speaks by the clause may be slow with the next one."""
    engine = Trickle(2 * RATE * 5 // 2, hangs_after_first=True)
    async with aclosing(speak_memo({"trickle": engine}, desk, ORDER)) as memo:
        async with asyncio.timeout(10):
            sent = [await anext(memo) for _ in range(4)]
    # 0.1 s, two whole seconds and what is left of 2.5 s, at 16 kB a second; the leveller looks 0.4 s ahead.
    assert 16_000 * 1.9 < len(audio(sent)) < 16_000 * 2.7
