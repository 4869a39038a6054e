"""Eight people perform at the same time; each hears only their own voice."""

import asyncio
import base64

from dev.performer import Performer, accepted
from tests import samples
from tests.e2e.conftest import SignUp
from tests.e2e.hearing import marker

TURNS = 2


async def streamed(performer: Performer, value: str) -> bytes:
    async with performer.stream(value, "names") as response:
        assert response.status_code == 200
        return b"".join([chunk async for chunk in response.aiter_bytes()])


async def whole(performer: Performer, value: str) -> bytes:
    return base64.b64decode(accepted(await performer.perform(value, "names"))["audio_base64"])


async def everything_heard_by(performer: Performer, name: str) -> set[int]:
    """The tones of all memos that this performer gets while the others perform too."""
    memos: list[bytes] = []
    for turn in range(TURNS):
        memos += await asyncio.gather(
            whole(performer, f"{name} {turn}"), streamed(performer, f"{turn} {name}")
        )
    for kept in await performer.recordings():
        memos.append((await performer.http.get(f"/v1/recordings/{kept['id']}/audio")).content)
    # Each memo as it was answered and as it was kept, and the one performed alone.
    assert len(memos) == 4 * TURNS + 1
    # What was kept are the bytes that were answered, and says nothing more.
    return {marker(memo) for memo in set(memos)}


async def test_eight_performers_at_once_each_hear_only_their_own_voice(sign_up: SignUp) -> None:
    performers = [await sign_up() for _ in samples.SPEAKERS]
    own = []
    for speaker, performer in enumerate(performers):
        accepted(await performer.upload(samples.speech(speaker)))
        own.append(marker(await whole(performer, "Alone")))
    assert len(set(own)) == len(performers), "the samples must be told apart by their tones"
    names = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal")
    heard = await asyncio.gather(*map(everything_heard_by, performers, names))
    assert heard == [{tone} for tone in own]
