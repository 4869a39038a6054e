"""What uploads and clones answered, for who asks again under the same Idempotency-Key."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from newvisions.voice.v1 import voice_service_pb2 as pb
from services.kernel.answers import EXPIRES_AT, USER, Contents, KeptAnswers, Secrets
from services.kernel.errors import ServiceError
from services.kernel.replay import Attempt
from services.voice.blobs import Keys
from services.voice.domain import SealedBlob
from services.voice.mongo import Document, reached
from services.voice.uploads import from_body

_METHODS: Final = pb.DESCRIPTOR.services_by_name["VoiceService"].methods_by_name
COLLECTION: Final = "answers"
# An upload may take 18 s, and its clone goes on for a little longer.
_LONGEST: Final = timedelta(seconds=40)
# No secret: a recording cannot be guessed, and nothing else is asked for here.
_REFERENCE: Final = b"newvisions/voice/answers"


def kept_answers(answers: AsyncCollection[Document], keys: Keys, now: Callable[[], datetime]) -> KeptAnswers:
    secrets = Secrets(_WithKeyId(keys), _REFERENCE)
    return KeptAnswers(AnswersInMongo(answers), secrets, _LONGEST, now, Contents(_asked))


def _asked(attempt: Attempt) -> bytes:
    """Of a form only the recording counts: the line between its fields is another one each time."""
    if attempt.method != _METHODS["UploadVoiceFile"].full_name:
        return attempt.request
    request = pb.UploadVoiceFileRequest.FromString(attempt.request)
    try:
        request.file.data = from_body(request.file.content_type, request.file.data).recording
    except ServiceError:
        return attempt.request
    request.file.content_type = ""
    return request.SerializeToString(deterministic=True)


async def make_indexes(answers: AsyncCollection[Document]) -> None:
    await answers.create_index(EXPIRES_AT, expireAfterSeconds=0, name="expires")
    await answers.create_index(USER, sparse=True, name="user")


class AnswersInMongo:
    """Implements the kernel's AnswerDocuments. Raises VoiceStoreUnavailable."""

    def __init__(self, answers: AsyncCollection[Document]) -> None:
        self._answers = answers

    async def insert_unless_there(self, document: Document) -> bool:
        with reached():
            try:
                await self._answers.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

    async def find_one(self, document_id: object) -> Document | None:
        with reached():
            return await self._answers.find_one({"_id": document_id})

    async def update(self, where: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        with reached():
            return (await self._answers.update_one(where, change)).matched_count == 1

    async def delete(self, where: Mapping[str, Any]) -> bool:
        with reached():
            return (await self._answers.delete_one(where)).deleted_count == 1

    async def delete_all(self, where: Mapping[str, Any]) -> int:
        with reached():
            return (await self._answers.delete_many(where)).deleted_count


class _WithKeyId:
    """Implements the kernel's Sealing. Keys are exchanged at times; the old ones open for a day more."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def seal(self, secret: bytes, label: str) -> bytes:
        return self._keys.sealing_id.encode() + b":" + self._keys.seal(secret, label)

    def open(self, sealed: bytes, label: str) -> bytes:
        key_id, _, content = sealed.partition(b":")
        return self._keys.open(content, SealedBlob(label, key_id.decode()))
