"""A performer asks for all that is kept, then leaves: nothing is found anywhere, and nobody else notices."""

from pathlib import Path
from typing import Any

import httpx
from pymongo import AsyncMongoClient
from redis.asyncio import Redis

from dev.performer import PASSWORD, Performer, accepted
from dev.stack import Stack
from services.content.erasures import MARKED_SECONDS, mark_of
from tests import samples
from tests.e2e.conftest import SignUp

VALUE = "Queen of Clubs"
DATABASES = ("auth", "voice", "perform")


async def lived(performer: Performer, seconds: float = 37.3, value: str = VALUE) -> dict[str, Any]:
    """With a voice, a named setting and two recordings; the last memo.

    No other test has a sample of this length: what is found of it is this performer's.
    """
    accepted(await performer.upload(samples.speech(seconds=seconds)))
    accepted(await performer.set(voice_note_name=f"Walk of {performer.username}"[:50]))
    accepted(await performer.perform(value))
    return accepted(await performer.perform(value))


async def leave(performer: Performer, password: str = PASSWORD) -> httpx.Response:
    return await performer.http.request("DELETE", "/v1/users/me", json={"password": password})


async def documents(stack: Stack) -> list[str]:
    """Every document of every database, in words."""
    found = []
    async with AsyncMongoClient[dict[str, Any]](stack.settings["AUTH_MONGO_URL"]) as client:
        for database in DATABASES:
            for name in await client[database].list_collection_names():
                found += [f"{name} {each}" async for each in client[database][name].find()]
    return found


async def cached(stack: Stack) -> list[str]:
    """Every key of the cache; what they hold are hashes, counts and ids of performances.

    But for the marks of the erased, which go by themselves within a minute.
    """
    async with Redis.from_url(stack.settings["VOICE_VALKEY_URL"], decode_responses=True) as valkey:
        keys = [key async for key in valkey.scan_iter()]
        marks = [key for key in keys if key.startswith(mark_of(""))]
        # Minus one is for ever; minus two is gone by now.
        assert all([(await valkey.ttl(mark)) in {-2, *range(MARKED_SECONDS + 1)} for mark in marks])
        return [key for key in keys if key not in marks]


def blobs(stack: Stack) -> dict[Path, bytes]:
    """Every blob by its path; a folder too, for its name."""
    folder = stack.data / "blobs"
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")
    }


async def traces_of(stack: Stack, wanted: list[str]) -> set[str]:
    """Which of these can be found in any document, blob or key."""
    stored = blobs(stack)
    words = "\n".join([*await documents(stack), *map(str, stored), *await cached(stack)])
    content = b"\n".join(stored.values())
    return {each for each in wanted if each in words or each.encode() in content}


async def test_what_an_erased_performer_left_is_found_nowhere(sign_up: SignUp, stack: Stack) -> None:
    performer, other = await sign_up(), await sign_up()
    memo, kept = await lived(performer), await lived(other, 38.1, "Two of Spades")
    source = accepted(await performer.http.get("/v1/users/me/voice/source"))
    everything = [
        *(performer.user_id, performer.username, f"{performer.username}@example.com"),
        *(memo["text"], memo["recording_id"], memo["filename"], source["hash"], source["voiceCloneId"]),
    ]
    before = blobs(stack)
    assert await traces_of(stack, everything) == set(everything)
    proof = accepted(await leave(performer))
    assert proof["state"] == "done"
    # Two performances' ids stay in the ledger, under a pseudonym: they lead to nothing any more.
    assert await traces_of(stack, everything) <= {memo["recording_id"]}
    assert len(before) - len(blobs(stack)) >= 4
    proofs = [each for each in await documents(stack) if proof["erasure_id"] in each]
    assert len(proofs) == 1
    assert "'recordings': 2" in proofs[0]
    assert "'samples': 1" in proofs[0]
    again = accepted(await leave(performer))
    assert again == proof
    await untouched(other, kept)


async def untouched(performer: Performer, memo: dict[str, Any]) -> None:
    assert len(await performer.recordings()) == 2
    audio = await performer.http.get(f"/v1/recordings/{memo['recording_id']}/audio")
    assert audio.status_code == 200
    assert accepted(await performer.perform(VALUE))["voiceSource"] == "local_clone"


async def test_a_wrong_password_erases_nothing(voiced: Performer) -> None:
    refused = await leave(voiced, "not the password")
    assert (refused.status_code, refused.json()["error"]) == (401, "CREDENTIALS_INVALID")
    assert accepted(await voiced.perform(VALUE))["recording_id"]


async def test_an_export_leads_to_everything(performer: Performer) -> None:
    memo = await lived(performer)
    export = accepted(await performer.http.get("/v1/users/me/export"))
    assert export["account"]["email"] == f"{performer.username}@example.com"
    assert export["settings"]["voice_stability"] == 50
    assert export["recordings"][0]["text"] == memo["text"]
    assert sum(each["credits"] for each in export["credits"]) == memo["charCount"]
    assert (len(export["sessions"]), export["api_keys"], export["complete"]) == (1, [], True)
    links = [export["voice"]["source"], *(each["audio"] for each in export["recordings"])]
    assert len(links) == 3
    for link in links:
        audio = await performer.http.get(link)
        assert (audio.status_code, audio.headers["content-type"]) == (200, "audio/mpeg")


async def test_nobody_exports_or_erases_somebody_else(performer: Performer, sign_up: SignUp) -> None:
    other = await sign_up()
    export = await performer.http.get(f"/v1/users/{other.user_id}/export")
    erase = await performer.http.request("DELETE", f"/v1/users/{other.user_id}", json={"password": PASSWORD})
    assert [answer.json()["error"] for answer in (export, erase)] == ["USER_NOT_FOUND"] * 2
    assert accepted(await other.http.get("/v1/users/me"))["username"] == other.username
