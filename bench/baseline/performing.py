"""One performance: write the words, charge them, speak them, file the memo; refund them when that fails."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any
from uuid import uuid4

from bench.baseline.accounts import find_user, month
from bench.baseline.house import House, refused
from bench.baseline.providers import RATE
from services.synthesis.domain import Background, Labels, Piece, Sound
from services.synthesis.memo import Memo


@dataclass
class Performance:
    """What is asked for, and what came of it."""

    user_id: str
    routine: str
    value: str
    background_volume: int = 0
    title: str = "New Recording"
    recording_id: str = field(default_factory=lambda: str(uuid4()))
    text: str = ""
    cost: int = 0
    composing_seconds: float = 0.0
    speaking_seconds: float = 0.0


@asynccontextmanager
async def begun(house: House, performance: Performance) -> AsyncIterator[str]:
    """The voice to speak in, with the words written and charged; a failure inside gives the credits back."""
    user = await find_user(house, performance.user_id)
    if not user.get("voice_id"):
        raise refused(409, "VOICE_CLONE_REQUIRED", "There is no voice yet.")
    began = perf_counter()
    performance.text = await house.providers.note(performance.routine, performance.value, "en")
    performance.composing_seconds = perf_counter() - began
    performance.cost = max(1, round(len(performance.text) * house.settings.cost_factor))
    period = month()
    await _charge(house, performance, period)
    try:
        yield user["voice_id"]
    except BaseException:
        # Also when the caller hung up, so it must not be stopped.
        await asyncio.shield(_add(house, performance.user_id, period, -performance.cost))
        raise


async def whole(house: House, performance: Performance) -> tuple[bytes, dict[str, Any]]:
    """The memo and its recording, when all of it is there."""
    async with begun(house, performance) as voice:
        asked = perf_counter()
        async with aclosing(house.providers.speak(voice, performance.text)) as speech:
            pcm = b"".join([chunk async for chunk in speech])
        memo = await house.in_a_thread(_memo, house, performance)
        audio, last = await house.in_a_thread(_made, memo, pcm)
        performance.speaking_seconds = perf_counter() - asked
        return audio, await _file(house, performance, audio, last)


async def streamed(house: House, performance: Performance) -> AsyncGenerator[bytes, None]:
    """The memo as it is made."""
    async with begun(house, performance) as voice:
        asked, sent = perf_counter(), bytearray()
        memo = await house.in_a_thread(_memo, house, performance)
        async with aclosing(house.providers.speak(voice, performance.text)) as speech:
            async for pcm in speech:
                if audio := await house.in_a_thread(memo.add, pcm):
                    sent += audio
                    yield audio
        last = await house.in_a_thread(memo.finish)
        sent += last.audio
        performance.speaking_seconds = perf_counter() - asked
        yield last.audio
        await _file(house, performance, bytes(sent), last)


def _memo(house: House, performance: Performance) -> Memo:
    backdrop = house.ambience.backdrop(Background(Sound.FAN, performance.background_volume))
    return Memo(RATE, Labels(performance.title, performance.recording_id), backdrop)


def _made(memo: Memo, pcm: bytes) -> tuple[bytes, Piece]:
    beginning, last = memo.add(pcm), memo.finish()
    return beginning + last.audio, last


async def _charge(house: House, performance: Performance, period: str) -> None:
    """In one conditional update: credits are never overspent, however many perform at once."""
    used, most = f"used.{period}", house.settings.monthly_limit - performance.cost
    # Before the first one of a month there is no such field.
    enough = {"_id": performance.user_id, used: {"$not": {"$gt": most}}}
    done = await house.database.users.update_one(enough, {"$inc": {used: performance.cost}})
    if not done.matched_count:
        raise refused(402, "CREDITS_EXHAUSTED", "This month's credits are used up.")


async def _add(house: House, user_id: str, period: str, credits_: int) -> None:
    await house.database.users.update_one({"_id": user_id}, {"$inc": {f"used.{period}": credits_}})


async def _file(house: House, performance: Performance, audio: bytes, last: Piece) -> dict[str, Any]:
    """Audio first: whoever sees the recording can hear it."""
    assert last.summary is not None
    path = house.settings.folder / "recordings" / f"{performance.recording_id}.mp3"
    await house.in_a_thread(path.write_bytes, audio)
    recording = {
        "_id": performance.recording_id,
        "user_id": performance.user_id,
        "title": performance.title,
        "created_at": datetime.now(UTC),
        "duration_seconds": last.summary.duration_seconds,
        "size_bytes": len(audio),
        "routine_type": performance.routine,
        "text": performance.text,
        "credits": performance.cost,
        "waveform": list(last.summary.waveform),
    }
    await house.database.recordings.insert_one(recording)
    _log(performance)
    return recording


def _log(performance: Performance) -> None:
    line = {
        "event": "performed",
        "recording_id": performance.recording_id,
        "user_id": performance.user_id,
        "composing_seconds": round(performance.composing_seconds, 4),
        "speaking_seconds": round(performance.speaking_seconds, 4),
    }
    sys.stderr.write(json.dumps(line) + "\n")
