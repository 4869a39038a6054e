"""The forms in which a recording arrives, undone: base64, data URL, raw body, multipart form."""

import base64
import binascii
import re
from email.message import Message
from typing import TYPE_CHECKING, Final

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError

from services.voice.domain import Upload
from services.voice.refusals import (
    MAX_UPLOAD_BYTES,
    AudioBase64Invalid,
    SampleFileMissing,
    SampleMediaUnknown,
    SampleTooLarge,
)

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_DATA_URL: Final = re.compile(r"data:([^,;]*)((?:;[^,;]+)*),", re.ASCII | re.IGNORECASE)
# Some recorders call an audio track in a video container a video; curl names no type of its own.
_RAW_TYPES: Final = ("audio/", "video/mp4", "video/webm", "application/octet-stream", "application/ogg")
_MOST_FORM_PARTS: Final = 20


def from_json(audio_base64: str, mime_type: str, seconds: float) -> Upload:
    """Raises AudioBase64Invalid and SampleTooLarge.

    White space is allowed anywhere and padding may be absent; the URL-safe alphabet is refused,
    because text in it is as likely something else.
    """
    text, mime = audio_base64.strip(), mime_type
    if text[:5].lower() == "data:":
        text, mime = _of_data_url(text)
    compact = "".join(text.split()).rstrip("=")
    try:
        recording = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AudioBase64Invalid("audio_base64 is not valid base64.") from error
    return _accepted(recording, mime, seconds)


def _of_data_url(url: str) -> tuple[str, str]:
    head = _DATA_URL.match(url[:300])
    if head is None or not head[2].lower().endswith(";base64"):
        raise AudioBase64Invalid("audio_base64 is a data URL without ;base64 in front of the data.")
    return url[head.end() :], head[1] + head[2][: -len(";base64")]


def from_body(content_type: str, body: bytes) -> Upload:
    """Raises SampleMediaUnknown, SampleFileMissing and SampleTooLarge."""
    mime = content_type.partition(";")[0].strip().lower()
    if mime == "multipart/form-data":
        return _from_form(content_type, body)
    if mime and not mime.startswith(_RAW_TYPES):
        raise SampleMediaUnknown(f"A recording cannot be sent as {mime[:60]}.")
    return _accepted(body, content_type, 0.0)


def _accepted(recording: bytes, mime: str, seconds: float) -> Upload:
    if len(recording) > MAX_UPLOAD_BYTES:
        mebibytes = len(recording) / (1 << 20)
        raise SampleTooLarge(f"The recording has {mebibytes:.1f} MiB; at most 3 MiB are accepted.")
    return Upload(recording, mime, seconds)


def _from_form(content_type: str, body: bytes) -> Upload:
    boundary = _parameter(content_type, "content-type", "boundary")
    if not boundary:
        raise SampleFileMissing("The multipart/form-data has no boundary.")
    form = _Form()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, UnicodeError) as error:
        raise SampleFileMissing("The multipart/form-data cannot be read.") from error
    if form.file is None or not form.complete:
        raise SampleFileMissing("The form has no whole file field.")
    return _accepted(bytes(form.file), form.file_type, 0.0)


class _Form:
    """Keeps the first file field of a form and skips the rest."""

    def __init__(self) -> None:
        self.file: bytearray | None = None
        self.file_type = ""
        self.complete = False
        self._parts = 0
        self._name, self._value = b"", b""
        self._headers: dict[str, str] = {}
        self._inside_file = False

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": self._reads_name,
            "on_header_value": self._reads_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._content_begins,
            "on_part_data": self._reads_content,
            "on_part_end": self._part_ends,
        }

    def _part_begins(self) -> None:
        self._parts += 1
        self._headers = {}
        if self._parts > _MOST_FORM_PARTS:
            raise SampleFileMissing(f"The form has more than {_MOST_FORM_PARTS} fields.")

    def _reads_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _reads_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _content_begins(self) -> None:
        disposition = self._headers.get("content-disposition", "")
        named = _parameter(disposition, "content-disposition", "filename")
        if self.file is None and named is not None:
            self.file, self.file_type = bytearray(), self._headers.get("content-type", "")
            self._inside_file = True

    def _reads_content(self, data: bytes, start: int, end: int) -> None:
        if self._inside_file and self.file is not None:
            self.file += data[start:end]

    def _part_ends(self) -> None:
        self.complete = self.complete or self._inside_file
        self._inside_file = False


def _parameter(header: str, name: str, parameter: str) -> str | None:
    """A parameter of a header like Content-Disposition; None when it has none of that name."""
    parsed = Message()
    parsed[name] = header.replace("\r", " ").replace("\n", " ")
    found = parsed.get_param(parameter, header=name)
    return found[2] if isinstance(found, tuple) else found
