"""The whole content service over a real socket, with a real cache, as its callers see it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import grpc
import pytest

from dev.ports import free_port
from newvisions.auth.v1 import auth_service_pb2 as auth_pb
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceServicer, add_AuthServiceServicer_to_server
from newvisions.content.v1 import content_service_pb2 as pb
from newvisions.content.v1.content_service_pb2_grpc import ContentServiceStub
from newvisions.edge.v1 import edge_pb2
from services.content.__main__ import open_service
from services.content.languages import tongues
from services.kernel.caller import owner
from services.kernel.client import Channels
from services.kernel.server import Handlers
from services.kernel.statuses import api_error


class Accounts(AuthServiceServicer):
    """Every performer speaks English, but those who are named here."""

    def __init__(self) -> None:
        self.languages: dict[str, str] = {}

    async def GetSettings(
        self, request: auth_pb.GetSettingsRequest, context: Any
    ) -> auth_pb.GetSettingsResponse:
        return auth_pb.GetSettingsResponse(voice_language=self.languages.get(owner(request.user_id), "en"))


@pytest.fixture(scope="module")
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture(scope="module")
async def content(valkey_url: str, accounts: Accounts) -> AsyncIterator[ContentServiceStub]:
    handlers = Handlers()
    server = grpc.aio.server()
    async with AsyncExitStack() as stack:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("CONTENT_VALKEY_URL", valkey_url)
            add_AuthServiceServicer_to_server(accounts, handlers)  # type: ignore[no-untyped-call]
            channels = Channels(handlers, frozenset({"auth", "content"}))
            await stack.enter_async_context(open_service(handlers, channels))
        handlers.attach_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield ContentServiceStub(channel)  # type: ignore[no-untyped-call]
        await server.stop(grace=None)


def request(**changes: str) -> pb.ComposeNoteRequest:
    fields = {"routine_type": "cards", "value": "seven of hearts", "language": "en", "user_id": str(uuid4())}
    return pb.ComposeNoteRequest(**{**fields, **changes})


def signed_in() -> tuple[tuple[str, str], ...]:
    return (("x-user-id", str(uuid4())), ("x-request-id", str(uuid4())))


def failed(failure: grpc.aio.AioRpcError) -> edge_pb2.ApiError:
    error, _ = api_error(failure)
    assert error is not None
    return error


@pytest.mark.parametrize(("language", "value"), [("en", "seven of hearts"), ("es-MX", "siete de corazones")])
async def test_a_note_says_the_value_once_in_the_language_asked_for(
    content: ContentServiceStub, language: str, value: str
) -> None:
    note = await content.ComposeNote(request(language=language, value=value))
    assert 80 <= len(note.text) <= 120
    assert note.text.count(value) == 1
    assert (note.model, list(note.fallback_from)) == ("offline", [])


async def test_a_user_is_not_given_the_same_note_twice_in_a_row(content: ContentServiceStub) -> None:
    same = request(value="z" * 92)
    notes = [(await content.ComposeNote(same)).text for _ in range(20)]
    assert len(set(notes)) == 20


@pytest.mark.parametrize(
    ("changes", "reason", "status"),
    [
        ({"routine_type": "coins"}, "INVALID_REQUEST", 400),
        ({"value": ""}, "INVALID_REQUEST", 400),
        ({"value": "x" * 501}, "INVALID_REQUEST", 400),
        ({"value": "x" * 150}, "VALUE_TOO_LONG", 400),
        ({"value": " \n "}, "VALUE_NOT_SPEAKABLE", 400),
        ({"language": "nl"}, "LANGUAGE_NOT_WRITTEN", 400),
        ({"value": "shithead"}, "CONTENT_REFUSED", 422),
    ],
)
async def test_what_cannot_become_a_note_is_refused_with_its_reason(
    content: ContentServiceStub, changes: dict[str, str], reason: str, status: int
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await content.ComposeNote(request(**changes))
    error = failed(failure.value)
    assert (error.error, error.http_status) == (reason, status)
    assert error.message
    assert error.action


async def test_a_thought_about_any_topic_keeps_the_topic_out(content: ContentServiceStub) -> None:
    asked = pb.GenerateThoughtRequest(topic="animals", value="elephant")
    answer = await content.GenerateThought(asked, metadata=signed_in())
    assert answer.thought.count("elephant") == 1
    assert "animal" not in answer.thought


async def test_a_thought_without_a_language_is_in_the_performers_own(
    content: ContentServiceStub, accounts: Accounts
) -> None:
    who = signed_in()
    accounts.languages[who[0][1]] = "es"
    for language, spoken in (("", "es"), ("en", "en")):
        asked = pb.GenerateThoughtRequest(topic="animales", value="Leo", language=language)
        answer = await content.GenerateThought(asked, metadata=who)
        odds = tongues().odds(answer.thought)
        assert max(odds, key=odds.__getitem__) == spoken


async def test_without_auth_a_thought_needs_a_language_and_is_never_english_by_chance(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTENT_VALKEY_URL", valkey_url)
    monkeypatch.setenv("CONTENT_AUTH_ADDRESS", f"127.0.0.1:{free_port()}")
    handlers = Handlers()
    channels = Channels(handlers, frozenset({"content"}))
    async with open_service(handlers, channels):
        stub: Any = ContentServiceStub(channels.to("content", ""))  # type: ignore[no-untyped-call]
        asked = pb.GenerateThoughtRequest(topic="animals", value="elephant")
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.GenerateThought(asked, metadata=signed_in(), timeout=10)
        error = failed(failure.value)
        assert (error.error, error.http_status) == ("SERVICE_UNAVAILABLE", 503)
        asked.language = "en"
        answer = await stub.GenerateThought(asked, metadata=signed_in(), timeout=10)
        assert "elephant" in answer.thought
    await channels.close()


async def test_a_stranger_gets_no_thought(content: ContentServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await content.GenerateThought(pb.GenerateThoughtRequest(topic="animals", value="elephant"))
    assert failed(failure.value).error == "UNAUTHENTICATED"


async def test_the_same_question_gets_the_kept_thought_and_a_performance_never_does(
    content: ContentServiceStub,
) -> None:
    asked, who = pb.GenerateThoughtRequest(topic="animals", value="elephant"), signed_in()
    first, second = [await content.GenerateThought(asked, metadata=who) for _ in range(2)]
    assert (first.cached, second.cached) == (False, True)
    assert (second.thought, second.model) == (first.thought, "offline")
    assert not (await content.GenerateThought(asked, metadata=signed_in())).cached
    same = request()
    assert [(await content.ComposeNote(same)).cached for _ in range(2)] == [False, False]


async def test_a_thought_whose_answer_was_lost_is_given_again_under_its_key(
    content: ContentServiceStub,
) -> None:
    who = (*signed_in(), ("idempotency-key", "k1"))
    asked = [pb.GenerateThoughtRequest(topic="animals", value=value) for value in ("elephant", "giraffe")]
    first, again = [await content.GenerateThought(asked[0], metadata=who) for _ in range(2)]
    # The same answer, and not the one that is kept for whoever asks the same without a key.
    assert (again, again.cached) == (first, False)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await content.GenerateThought(asked[1], metadata=who)
    assert failed(failure.value).error == "IDEMPOTENCY_KEY_REUSED"


async def test_erasing_a_user_forgets_their_notes_and_thoughts(content: ContentServiceStub) -> None:
    who = signed_in()
    user_id = who[0][1]
    asked = pb.GenerateThoughtRequest(topic="pets", value="Rex")
    await content.GenerateThought(asked, metadata=(*who, ("idempotency-key", "k1")))
    await content.ComposeNote(request(user_id=user_id))
    erasure = pb.EraseUserRequest(user_id=user_id, erasure_id=str(uuid4()))
    erased = [dict((await content.EraseUser(erasure)).erased) for _ in range(2)]
    assert erased == [
        {"recent_notes": 2, "thoughts": 1, "answers": 1},
        {"recent_notes": 0, "thoughts": 0, "answers": 0},
    ]
