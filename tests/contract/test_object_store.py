"""Audio and samples in a real object store that speaks S3, with signed requests.

Takes a program of 150 MB and is left out unless asked for: `./newvisions test --object-store`.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from dev.object_store import environment, object_store
from dev.ports import free_port
from dev.process import Process
from services.perform.blobs import StoredBlobs
from services.perform.errors import StorageUnavailable
from services.perform.ports import Blobs
from services.voice.blobs import Keys, SealedBlobs, open_store
from services.voice.domain import BlobMissing

# The same promises as of every other store.
from tests.contract.test_perform_stores import (  # noqa: F401
    test_all_audio_is_found_by_its_age_and_removed,
    test_an_empty_store_answers,
    test_audio_has_a_size,
    test_audio_is_put_and_removed_as_often_as_one_likes,
    test_audio_is_read_back_whole_or_in_part_and_by_its_owner_only,
)

pytestmark = pytest.mark.object_store
# S3 names a thousand objects at once.
MORE_THAN_A_PAGE = 1100


@pytest.fixture(scope="module")
async def port(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    data, port = tmp_path_factory.mktemp("object-store"), free_port()
    server = await Process.start(object_store(port, data), data, Path.cwd())
    yield port
    await server.stop()


@pytest.fixture
def url(port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in environment(port).items():
        monkeypatch.setenv(name, value)
    return f"s3://memos/{uuid4().hex}"


@pytest.fixture
def blobs(url: str) -> StoredBlobs:
    return StoredBlobs(url)


async def test_a_user_with_more_than_a_page_of_audio_is_erased_and_the_neighbour_is_not(blobs: Blobs) -> None:
    left = uuid4()
    await blobs.put("ada-2", left, b"mine")
    for _ in range(MORE_THAN_A_PAGE // 50):
        await asyncio.gather(*(blobs.put("ada", uuid4(), b"x") for _ in range(50)))
    later = datetime.now(UTC) + timedelta(minutes=1)
    listed = [each async for part in blobs.older_than(later) for each in part]
    assert len(listed) == MORE_THAN_A_PAGE + 1
    assert await blobs.delete_all("ada") == MORE_THAN_A_PAGE
    assert await blobs.delete_all("ada") == 0
    assert await blobs.get("ada-2", left) == b"mine"


async def test_a_sample_is_sealed_before_it_leaves(url: str) -> None:
    store = open_store(url)
    blobs = SealedBlobs(store, Keys([os.urandom(32)]))
    sealed = await blobs.put("sample", b"a voice")
    assert await blobs.get(sealed) == b"a voice"
    assert b"a voice" not in bytes(store.get("sample").bytes())
    await blobs.delete("sample")
    with pytest.raises(BlobMissing):
        await blobs.get(sealed)


async def test_a_wrong_secret_is_a_store_that_is_away(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StorageUnavailable):
        await StoredBlobs(url).put("ada", uuid4(), b"x")
