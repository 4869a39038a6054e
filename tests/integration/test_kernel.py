"""The same call has the same outcome whether the peer is in this process or behind a socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from newvisions.auth.v1 import auth_service_pb2 as auth_pb
from newvisions.auth.v1 import auth_service_pb2_grpc as auth_grpc
from newvisions.synthesis.v1 import synthesis_service_pb2 as pb
from newvisions.synthesis.v1 import synthesis_service_pb2_grpc as synthesis_grpc
from services.kernel.caller import Caller, caller, limit_to, set_caller
from services.kernel.client import Channels, LocalChannel, PeerUnavailable, outgoing, peer
from services.kernel.errors import Kind, ServiceError
from services.kernel.server import Handlers
from services.kernel.settings import SettingUnusable
from services.kernel.statuses import Deadline, api_error
from tests.integration.kernel_stage import SECOND, SECRET, Actor, enrol, heard, speak


class NoSuchVoice(ServiceError):
    kind, reason = Kind.NOT_FOUND, "NO_SUCH_VOICE"


class Accounts(auth_grpc.AuthServiceServicer):
    """Reached through routes for users and for administrators."""

    async def GetUser(self, request: auth_pb.GetUserRequest, context: Any) -> auth_pb.GetUserResponse:
        return auth_pb.GetUserResponse(user_id=caller().user_id)

    async def CreateActivationCodes(
        self, request: auth_pb.CreateActivationCodesRequest, context: Any
    ) -> auth_pb.CreateActivationCodesResponse:
        return auth_pb.CreateActivationCodesResponse()


@pytest.fixture
def actor() -> Actor:
    return Actor()


@pytest.fixture(params=["in process", "socket"])
async def channel(request: pytest.FixtureRequest, actor: Actor) -> AsyncIterator[Any]:
    handlers = Handlers()
    synthesis_grpc.add_SynthesisServiceServicer_to_server(actor, handlers)  # type: ignore[no-untyped-call]
    auth_grpc.add_AuthServiceServicer_to_server(Accounts(), handlers)  # type: ignore[no-untyped-call]
    if request.param == "in process":
        yield LocalChannel(handlers)
        return
    server = grpc.aio.server()
    handlers.attach_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(grace=None)


@pytest.fixture
def synthesis(channel: Any) -> Any:
    return synthesis_grpc.SynthesisServiceStub(channel)


@pytest.fixture
def auth(channel: Any) -> Any:
    return auth_grpc.AuthServiceStub(channel)


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value


async def test_an_answer_arrives(synthesis: Any) -> None:
    assert (await synthesis.EnrolVoice(enrol(), timeout=5)).profile == SECOND


async def test_our_own_error_arrives_with_code_reason_action_and_retry(synthesis: Any) -> None:
    failure = await failed(synthesis.EnrolVoice(enrol("busy"), timeout=5))
    error, retry = api_error(failure)
    assert failure.code() is grpc.StatusCode.UNAVAILABLE
    assert error is not None
    assert (error.error, error.message) == ("SPEECH_ENGINE_BUSY", "Too many people are speaking.")
    assert (error.action, error.http_status, retry) == ("Wait a little.", 503, 7)


async def test_a_bug_says_nothing_about_itself(synthesis: Any) -> None:
    failure = await failed(synthesis.EnrolVoice(enrol("crash"), timeout=5))
    error, _ = api_error(failure)
    assert failure.code() is grpc.StatusCode.INTERNAL
    assert error is not None
    assert error.error == "INTERNAL"
    assert SECRET not in str(failure)
    assert SECRET not in error.message


async def test_a_request_that_breaks_the_contract_is_refused_by_the_field_s_name(synthesis: Any) -> None:
    failure = await failed(
        synthesis.EnrolVoice(pb.EnrolVoiceRequest(pcm=SECOND, sample_rate=16_000), timeout=5)
    )
    error, _ = api_error(failure)
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error is not None
    assert error.error == "INVALID_REQUEST"
    assert error.message.startswith("engine")


async def test_a_call_ends_at_its_deadline_and_so_does_the_work(synthesis: Any, actor: Actor) -> None:
    failure = await failed(synthesis.EnrolVoice(enrol("wait"), timeout=0.1))
    assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await actor.cancelled.wait()


async def test_a_call_that_is_given_up_stops_the_work(synthesis: Any, actor: Actor) -> None:
    call = asyncio.ensure_future(_awaited(synthesis.EnrolVoice(enrol("wait"), timeout=30)))
    async with asyncio.timeout(5):
        await actor.waiting.wait()
        call.cancel()
        await actor.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await call


async def _awaited(call: Any) -> Any:
    return await call


async def test_a_stream_arrives_in_order_and_ends(synthesis: Any) -> None:
    assert await heard(synthesis.Synthesize(speak(), timeout=5)) == [b"one", b"two"]


async def test_a_stream_can_be_read_message_by_message(synthesis: Any) -> None:
    call = synthesis.Synthesize(speak(), timeout=5)
    assert [(await call.read()).audio, (await call.read()).audio] == [b"one", b"two"]
    assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize("text", ["busy", "answer then busy"])
async def test_a_stream_fails_with_our_own_error_early_or_late(synthesis: Any, text: str) -> None:
    failure = await failed(heard(synthesis.Synthesize(speak(text), timeout=5)))
    error, retry = api_error(failure)
    assert error is not None
    assert (error.error, retry) == ("SPEECH_ENGINE_BUSY", 7)


async def written(*texts: str) -> AsyncIterator[pb.SynthesizeAsWrittenRequest]:
    for text in texts:
        yield pb.SynthesizeAsWrittenRequest(text=text)


async def test_requests_are_streamed_as_answers_are(synthesis: Any) -> None:
    heard = asyncio.Event()

    async def one_after_the_other() -> AsyncIterator[pb.SynthesizeAsWrittenRequest]:
        yield pb.SynthesizeAsWrittenRequest(text="one")
        # The second is only sent when the first is answered.
        await heard.wait()
        yield pb.SynthesizeAsWrittenRequest(text="two")

    answers = []
    async for answer in synthesis.SynthesizeAsWritten(one_after_the_other(), timeout=5):
        answers.append(answer.audio)
        heard.set()
    assert answers == [b"one", b"two"]


@pytest.mark.parametrize(
    ("texts", "reason"), [(("one", "busy"), "SPEECH_ENGINE_BUSY"), (("one", ""), "INVALID_REQUEST")]
)
async def test_each_streamed_request_is_held_to_the_contract(
    synthesis: Any, texts: tuple[str, ...], reason: str
) -> None:
    messages = aiter(synthesis.SynthesizeAsWritten(written(*texts), timeout=5))
    assert (await anext(messages)).audio == b"one"
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await anext(messages)
    error, _ = api_error(failure.value)
    assert error is not None
    assert error.error == reason


async def test_streamed_requests_that_are_given_up_stop_the_work(synthesis: Any, actor: Actor) -> None:
    call = synthesis.SynthesizeAsWritten(written("one", "wait"), timeout=5)
    messages = aiter(call)
    assert (await anext(messages)).audio == b"one"
    reading = asyncio.ensure_future(anext(messages))
    await asyncio.wait_for(actor.waiting.wait(), 5)
    call.cancel()
    await asyncio.wait_for(actor.cancelled.wait(), 5)
    await asyncio.gather(reading, return_exceptions=True)


async def test_a_stream_ends_at_its_deadline(synthesis: Any, actor: Actor) -> None:
    failure = await failed(heard(synthesis.Synthesize(speak("answer then wait"), timeout=0.2)))
    assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await actor.cancelled.wait()


async def test_a_stream_that_is_given_up_stops_the_work(synthesis: Any, actor: Actor) -> None:
    call = synthesis.Synthesize(speak("answer then wait"), timeout=30)
    assert (await call.read()).audio == b"one"
    assert (await call.read()).audio == b"two"
    reading = asyncio.create_task(_awaited(call.read()))
    async with asyncio.timeout(5):
        await actor.waiting.wait()
        call.cancel()
        await actor.cancelled.wait()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_what_the_gateway_verified_reaches_the_handler_and_does_not_leak_back(
    synthesis: Any, actor: Actor
) -> None:
    set_caller(Caller(user_id="asking", request_id="r-1"))
    await synthesis.EnrolVoice(enrol(), timeout=5, metadata=(("x-user-id", "asked"), ("x-request-id", "r-2")))
    assert (actor.seen[0].user_id, actor.seen[0].request_id) == ("asked", "r-2")
    assert caller().user_id == "asking"


async def test_further_calls_stay_within_the_caller_s_own_deadline(synthesis: Any, actor: Actor) -> None:
    limit_to(1.0)
    try:
        await synthesis.EnrolVoice(enrol(), **outgoing(seconds=60))
    finally:
        limit_to(None)
    assert actor.remaining is not None
    # On the wire a deadline is rounded up to the next ten milliseconds.
    assert 0 < actor.remaining <= 1.01


async def test_strangers_are_asked_to_sign_in_and_users_are_no_administrators(auth: Any) -> None:
    stranger = await failed(auth.GetUser(auth_pb.GetUserRequest(), timeout=5))
    assert stranger.code() is grpc.StatusCode.UNAUTHENTICATED
    user = (("x-user-id", "u-1"), ("x-user-roles", "performer"))
    assert (await auth.GetUser(auth_pb.GetUserRequest(), timeout=5, metadata=user)).user_id == "u-1"
    request = auth_pb.CreateActivationCodesRequest(count=1)
    denied = await failed(auth.CreateActivationCodes(request, timeout=5, metadata=user))
    assert denied.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_peer_s_reason_becomes_the_callers_own_error(synthesis: Any) -> None:
    with pytest.raises(NoSuchVoice), peer("synthesis", {"SPEECH_ENGINE_BUSY": NoSuchVoice}):
        await synthesis.EnrolVoice(enrol("busy"), timeout=5)


async def test_a_peer_s_other_reasons_pass_on_unchanged(synthesis: Any) -> None:
    with pytest.raises(ServiceError) as passed, peer("synthesis"):
        await synthesis.EnrolVoice(enrol("busy"), timeout=5)
    error = passed.value
    assert (error.reason, error.kind, error.retry_after_seconds) == (
        "SPEECH_ENGINE_BUSY",
        Kind.UNAVAILABLE,
        7,
    )


async def test_a_peer_that_takes_too_long_is_a_deadline(synthesis: Any) -> None:
    with pytest.raises(Deadline), peer("synthesis"):
        await synthesis.EnrolVoice(enrol("wait"), timeout=0.1)


async def test_a_peer_that_is_not_there_is_unavailable() -> None:
    channels = Channels({}, frozenset())
    stub = synthesis_grpc.SynthesisServiceStub(channels.to("synthesis", "127.0.0.1:1"))  # type: ignore[no-untyped-call]
    with pytest.raises(PeerUnavailable), peer("synthesis"):
        await stub.EnrolVoice(enrol(), timeout=5)
    await channels.close()


def test_a_peer_without_an_address_stops_the_start() -> None:
    with pytest.raises(SettingUnusable, match="VOICE_ADDRESS: is not set"):
        Channels({}, frozenset({"auth"})).to("voice", "")
