"""An engine is heard out whatever its listener waits for."""

import asyncio

import pytest

from services.synthesis.ahead import heard_ahead
from services.synthesis.domain import EngineUnavailable


class Engine:
    """Says one chunk after the other; then it ends, or fails."""

    def __init__(self, *chunks, failure=None):
        self.said = 0
        self.over = asyncio.Event()
        self._chunks = chunks
        self._failure = failure

    async def speak(self):
        try:
            for chunk in self._chunks:
                self.said += 1
                yield chunk
            if self._failure:
                raise self._failure
        finally:
            self.over.set()


async def settled():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_engine_ends_before_anything_is_taken_and_then_all_is_there_at_once():
    engine = Engine(b"one", b"two", b"three")
    async with heard_ahead(engine.speak(), 1000) as speech:
        await asyncio.wait_for(engine.over.wait(), 5)
        assert await speech.next_chunk() == b"onetwothree"
        assert await speech.next_chunk() is None


async def test_an_engine_far_ahead_waits_until_its_listener_takes_something():
    engine = Engine(b"1234", b"5678", b"9")
    async with heard_ahead(engine.speak(), 6) as speech:
        await settled()
        assert (engine.said, engine.over.is_set()) == (2, False)
        assert await speech.next_chunk() == b"12345678"
        assert await asyncio.wait_for(speech.next_chunk(), 5) == b"9"
        assert await asyncio.wait_for(speech.next_chunk(), 5) is None


async def test_a_failure_comes_after_what_was_said_before_it():
    engine = Engine(b"one", failure=EngineUnavailable("gone"))
    async with heard_ahead(engine.speak(), 1000) as speech:
        await asyncio.wait_for(engine.over.wait(), 5)
        assert await speech.next_chunk() == b"one"
        with pytest.raises(EngineUnavailable):
            await speech.next_chunk()


async def test_leaving_stops_the_engine():
    engine = Engine(*[b"word"] * 100)
    async with heard_ahead(engine.speak(), 8) as speech:
        await speech.next_chunk()
        assert not engine.over.is_set()
    assert engine.over.is_set()
    assert engine.said < 100
