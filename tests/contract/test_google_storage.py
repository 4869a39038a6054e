"""Audio and samples at Google's store: gs://bucket/folder opens with credentials from a file.

No package holds a server that speaks this protocol, so a stand-in of a few lines keeps what is put. That
Google agrees with it is shown nowhere: who uses it should try it first.
"""

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote
from uuid import uuid4

import pytest

from services.perform.blobs import StoredBlobs
from services.perform.errors import RecordingNotFound
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import BlobMissing


class Bucket(BaseHTTPRequestHandler):
    """Objects by their paths, as the XML interface has them, but for a list of them."""

    kept: dict[str, bytes]

    @property
    def _name(self) -> str:
        return unquote(self.path)

    def do_PUT(self) -> None:
        self.kept[self._name] = self.rfile.read(int(self.headers["content-length"]))
        self._answer(200)

    def do_GET(self) -> None:
        self._answer(200, self.kept[self._name]) if self._name in self.kept else self._answer(404)

    def do_DELETE(self) -> None:
        self._answer(204 if self.kept.pop(self._name, None) is not None else 404)

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("etag", '"one"')
        self.send_header("last-modified", "Sun, 01 Mar 2026 10:00:00 GMT")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """What is in the bucket, which the credentials of the environment lead to."""
    kept: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Bucket,), {"kept": kept}))
    account = {
        "gcs_base_url": f"http://127.0.0.1:{server.server_port}",
        "disable_oauth": True,
        **dict.fromkeys(("client_email", "private_key", "private_key_id"), ""),
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    serving = Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    yield kept
    server.shutdown()
    serving.join()
    server.server_close()


async def test_audio_is_kept_in_the_folder_of_the_bucket(kept: dict[str, bytes]) -> None:
    blobs, recording_id = StoredBlobs("gs://memos/evening"), uuid4()
    await blobs.put("ada", recording_id, b"a memo")
    assert kept == {f"/memos/evening/recordings/ada/{recording_id}.mp3": b"a memo"}
    assert await blobs.get("ada", recording_id) == b"a memo"
    await blobs.delete("ada", recording_id)
    await blobs.delete("ada", recording_id)
    assert kept == {}
    with pytest.raises(RecordingNotFound):
        await blobs.get("ada", recording_id)


async def test_a_sample_is_sealed_before_it_leaves(kept: dict[str, bytes]) -> None:
    blobs = SealedBlobs(open_store("gs://samples"), Keys([os.urandom(32)]))
    sealed = await blobs.put("sample", b"a voice")
    assert list(kept) == ["/samples/sample"]
    assert b"a voice" not in kept["/samples/sample"]
    assert await blobs.get(sealed) == b"a voice"
    await blobs.delete("sample")
    with pytest.raises(BlobMissing):
        await blobs.get(sealed)
