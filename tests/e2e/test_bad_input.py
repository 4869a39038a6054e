"""Bad input: the right code, one sentence, what to do next; nothing stored, nothing charged."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from dev.performer import Performer, accepted
from dev.stack import Stack
from services.auth.composition import build
from services.auth.settings import Settings
from services.kernel.clock import clock
from tests import samples
from tests.e2e.bad_requests import CASES, PERFORM, RECORDING, SETTINGS, UPLOAD, VOICE, Case


@pytest.fixture(scope="module")
async def victim(stack: Stack, codes: Iterator[str]) -> AsyncIterator[Performer]:
    """A performer with a voice and one recording, which no bad request may touch."""
    async with AsyncExitStack() as cleanup:
        performer = await cleanup.enter_async_context(Performer.signed_up(stack.url, next(codes)))
        accepted(await performer.upload(samples.speech()))
        accepted(await performer.perform("Ace of Spades"))
        yield performer


@dataclass
class Kept:
    """What the victim had after the last case, which is before the next."""

    now: list[Any]


@pytest.fixture(scope="module")
async def kept(victim: Performer) -> Kept:
    return Kept(await possessions(victim))


async def possessions(performer: Performer) -> list[Any]:
    """All that a request could change."""
    paths = ("", "/meta", "/settings", "/voice/meta")
    own = [accepted(await performer.http.get(f"/v1/users/me{path}")) for path in paths]
    return [*own, await performer.recordings()]


def assert_refused(answer: httpx.Response, status: int, error: str) -> None:
    """The one shape of every failure, in words for people."""
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    said = answer.json()
    assert set(said) == {"error", "message", "action", "detail", "request_id"}
    assert answer.status_code == status, said
    assert not error or said["error"] == error, said
    assert said["message"].endswith(".")
    assert "\n" not in said["message"]
    assert len(said["message"]) < 200
    assert said["detail"] == said["message"]
    assert said["action"]
    assert said["request_id"] == answer.headers["x-request-id"]
    for private in ("Traceback", "newvisions.", "grpc", "pymongo", "Exception", "upstream"):
        assert private not in answer.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
async def test_bad_input_is_refused_and_changes_nothing(victim: Performer, kept: Kept, case: Case) -> None:
    content = case.body() if callable(case.body) else case.body
    answer = await victim.http.request(case.method, case.path, **content)
    before, kept.now = kept.now, await possessions(victim)
    assert_refused(answer, case.status, case.error)
    assert kept.now == before


SIGNED_IN = [
    ("GET", "/v1/users/me"),
    ("GET", "/user/me"),
    ("GET", "/v1/users/me/meta"),
    ("PUT", SETTINGS),
    ("POST", VOICE),
    ("POST", UPLOAD),
    ("GET", f"{VOICE}/source.mp3"),
    ("DELETE", VOICE),
    ("POST", "/v1/perform"),
    ("POST", "/api/perform"),
    ("POST", "/v1/perform:stream"),
    ("GET", "/v1/recordings"),
    ("DELETE", RECORDING),
    ("GET", f"{RECORDING}/audio"),
    ("POST", "/v1/generate-thought"),
    ("POST", "/v1/admin/activation-codes"),
]


@pytest.mark.parametrize(("method", "path"), SIGNED_IN)
async def test_nobody_gets_in_without_a_token(stranger: httpx.AsyncClient, method: str, path: str) -> None:
    assert_refused(await stranger.request(method, path), 401, "UNAUTHENTICATED")


async def expired_token(username: str) -> str:
    """A token that was good until a minute ago; needs the service's environment."""
    async with build(Settings()) as built:  # type: ignore[call-arg]
        user = await built.database.users.named(username)
        assert user is not None
        session, _ = await built.ask.logins.open_session(user, clock(), timedelta(hours=1))
        return built.makers.access.mint(
            user, session.session_id, clock() - timedelta(minutes=2), timedelta(minutes=1)
        )


async def test_an_expired_token_is_refused_wherever_it_is(
    stack: Stack, victim: Performer, stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in stack.settings.items():
        monkeypatch.setenv(name, value)
    token = await expired_token(victim.username)
    for header in ({"authorization": f"Bearer {token}"}, {"cookie": f"newvisions_session={token}"}):
        answer = await stranger.get("/v1/recordings", headers=header)
        assert_refused(answer, 401, "UNAUTHENTICATED")
        assert "expired" in answer.json()["message"]


async def test_an_altered_or_made_up_token_is_refused(victim: Performer, stranger: httpx.AsyncClient) -> None:
    good = str(victim.http.headers["authorization"])
    head, payload, signature = good.split(".")
    assert (await stranger.get("/v1/users/me", headers={"authorization": good})).status_code == 200
    forged = f"{head}.{payload}.{signature[::-1]}"
    for token in (forged, f"{head}.{payload}.", "Bearer nonsense", "Bearer a.b.c", "Basic dTpw"):
        answer = await stranger.get("/v1/users/me", headers={"authorization": token})
        assert_refused(answer, 401, "UNAUTHENTICATED")


async def test_identity_comes_from_the_token_alone(
    stack: Stack, victim: Performer, stranger: httpx.AsyncClient
) -> None:
    claimed = {"x-user-id": victim.user_id, "x-user-roles": "admin", "x-session-id": "s"}
    assert_refused(await stranger.get("/v1/users/me", headers=claimed), 401, "UNAUTHENTICATED")
    refused = await victim.http.post("/v1/admin/activation-codes", json={"count": 1}, headers=claimed)
    assert_refused(refused, 403, "ADMIN_REQUIRED")


async def test_a_voiceless_performer_is_told_to_upload_and_not_charged(performer: Performer) -> None:
    for path in ("/v1/perform", "/v1/perform:stream", "/api/perform"):
        assert_refused(await performer.http.post(path, json=PERFORM), 409, "VOICE_CLONE_REQUIRED")
    assert await performer.recordings() == []
    credits_ = await performer.credits()
    assert (credits_["charCount"], credits_["reservedChars"]) == (0, 0)


@pytest.mark.parametrize(
    "sample", [samples.silence, samples.music, samples.short_speech], ids=lambda s: s.__name__
)
async def test_a_refused_first_sample_leaves_no_voice(
    performer: Performer, sample: Callable[[], bytes]
) -> None:
    assert (await performer.upload(sample())).status_code == 400
    meta = accepted(await performer.http.get(f"{VOICE}/meta"))
    assert (meta["hasSample"], meta["hasClone"], meta["state"]) == (False, False, "none")
