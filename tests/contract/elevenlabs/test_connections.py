"""Connections to ElevenLabs as they are in earnest: over TLS, to a server that would speak HTTP/2."""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path

import httpx
import pytest

from services.synthesis.domain import EngineUnavailable, EnrolledVoice, Utterance
from tests.authority import Authority
from tests.contract.elevenlabs import NOTE, in_pieces, say, speaking

VOICE = EnrolledVoice("abc")
AUDIO = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\n"
SPOKEN = AUDIO + b"content-length: 4\r\n\r\n1234"
BEGUN = AUDIO + b"content-length: 400\r\n\r\n1234"
SILENT = AUDIO + b"content-length: 4\r\n\r\n"
MODELS = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"


class Provider:
    """Gives the answers that a test puts here, one each, and audio when there are none. An answer that is
    not whole ends with the connection, or when the listener has left."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._connected: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.answers: deque[bytes] = deque()
        self.asked = 0
        # So many connections are refused from now on.
        self.away = 0
        self.protocols: set[str | None] = set()
        self.left = asyncio.Event()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.away -= 1
        if self.away >= 0:
            writer.close()
            return
        await writer.start_tls(self._context)
        self.protocols.add(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        self._connected.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await self._answered(reader, writer):
                pass
        self._connected.discard(writer)
        writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(MODELS)
            return True
        length = re.search(rb"content-length: (\d+)", head, re.I)
        await reader.readexactly(int(length[1]) if length else 0)
        self.asked += 1
        answer = self.answers.popleft() if self.answers else SPOKEN
        writer.write(answer)
        if answer is BEGUN:
            assert await reader.read() == b""
            self.left.set()
        return answer not in (BEGUN, SILENT)

    async def hang_up(self) -> None:
        """On those who are connected and ask for nothing."""
        leaving = list(self._connected)
        for writer in leaving:
            # A polite end of TLS would wait for the other side, which does not listen.
            writer.transport.abort()
        for writer in leaving:
            await writer.wait_closed()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture
async def https(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.sign("localhost"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    provider = Provider(context)
    server = await asyncio.start_server(provider.meet, "127.0.0.1", 0)
    provider.url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield provider


async def test_a_listener_who_leaves_hangs_up_on_the_provider(https: Provider, key_file: Path) -> None:
    https.answers.append(BEGUN)
    async with speaking(https.url, key_file) as engine:
        async with aclosing(engine.speak(Utterance(NOTE, "en"), VOICE)) as chunks:
            assert await anext(chunks) == b"1234"
        async with asyncio.timeout(5):
            await https.left.wait()
        assert await say(engine, VOICE) == b"1234"
    assert https.protocols == {"http/1.1"}


async def test_a_connection_that_the_provider_closed_meanwhile_is_not_asked(
    https: Provider, key_file: Path
) -> None:
    async with speaking(https.url, key_file) as engine:
        assert await say(engine, VOICE) == b"1234"
        await https.hang_up()
        assert await say(engine, VOICE) == b"1234"
    assert https.asked == 2


async def test_a_provider_that_cannot_be_reached_is_called_again(https: Provider, key_file: Path) -> None:
    async with speaking(https.url, key_file) as engine:
        await https.hang_up()
        https.away = 1
        assert await say(engine, VOICE) == b"1234"
    assert (https.away, https.asked) == (-1, 1)


@pytest.mark.parametrize("code", [httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE])
async def test_a_request_that_nobody_took_is_sent_again(
    https: Provider, key_file: Path, code: httpx.codes
) -> None:
    https.answers.append(b"HTTP/1.1 %d Away\r\ncontent-length: 0\r\n\r\n" % code)
    async with speaking(https.url, key_file) as engine:
        assert await say(engine, VOICE) == b"1234"
    assert https.asked == 2


async def test_a_memo_that_is_being_heard_goes_on_when_its_next_piece_breaks_off_before_a_sound(
    https: Provider, key_file: Path
) -> None:
    https.answers.extend([SPOKEN, SILENT])
    async with speaking(https.url, key_file) as engine:
        assert await in_pieces(engine, VOICE, "One is here.", " Two.") == b"1234" * 2
    assert https.asked == 3


async def test_a_memo_that_breaks_off_before_a_sound_may_be_paid_for_and_is_not_asked_for_again(
    https: Provider, key_file: Path
) -> None:
    https.answers.append(SILENT)
    async with speaking(https.url, key_file) as engine:
        with pytest.raises(EngineUnavailable):
            await say(engine, VOICE)
    assert https.asked == 1
