"""What audio says about itself: what it is, and that a machine spoke it.

Written here, and not by a muxer, where a stream's tag must come before its first frame, and because
muxers put the comment where players do not look for it.
"""

from services.synthesis.domain import Labels

_TEXT_IS_UTF16 = b"\x01"
_MAKER = "New Visions"


def id3(labels: Labels) -> bytes:
    """ID3v2.3, for formats that have no place of their own: mp3 and aac in ADTS."""
    if not labels.spoken_by_machine:
        return sound(labels.title)
    frames = [
        _frame(b"TIT2", _text(labels.title)) if labels.title else b"",
        _comment(_statement(labels)),
        _own("AI_GENERATED", "true"),
        _own("RECORDING_ID", labels.recording_id) if labels.recording_id else b"",
        _frame(b"TSSE", _text(_MAKER)),
    ]
    return _tag(frames)


def comments(labels: Labels) -> dict[str, str]:
    """Vorbis comments, for opus and flac; the muxer writes them."""
    said = {
        "title": labels.title,
        "comment": _statement(labels),
        "AI_GENERATED": "true",
        "RECORDING_ID": labels.recording_id,
    }
    return {name: _printable(text) for name, text in said.items() if text}


def info_list(labels: Labels) -> bytes:
    """LIST/INFO, for wav. It knows no names of our own, so the statement has to say everything."""
    said = {b"INAM": labels.title, b"ICMT": _statement(labels), b"ISFT": _MAKER}
    chunks = b"".join(_chunk(name, _printable(text).encode() + b"\0") for name, text in said.items() if text)
    return _chunk(b"LIST", b"INFO" + chunks)


def sound(title: str) -> bytes:
    """The ID3 tag of a sound in which no machine speaks."""
    return _tag([_frame(b"TIT2", _text(title)), _frame(b"TSSE", _text(_MAKER))])


def _statement(labels: Labels) -> str:
    recording = f" Recording {labels.recording_id}." if labels.recording_id else ""
    return f"AI-generated voice, made with New Visions.{recording}"


def _tag(frames: list[bytes]) -> bytes:
    body = b"".join(frames)
    # Seven bits a byte, so that no decoder takes the size for the start of a frame.
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + body


def _frame(name: bytes, content: bytes) -> bytes:
    content = _TEXT_IS_UTF16 + content
    return name + len(content).to_bytes(4, "big") + b"\x00\x00" + content


def _comment(text: str) -> bytes:
    return _frame(b"COMM", b"eng" + _text("") + b"\x00\x00" + _text(text))


def _own(name: str, text: str) -> bytes:
    return _frame(b"TXXX", _text(name) + b"\x00\x00" + _text(text))


def _text(text: str) -> bytes:
    """With a byte order mark."""
    return b"\xff\xfe" + _printable(text).encode("utf-16-le", "replace")


def _printable(text: str) -> str:
    """A NUL would end the text early, half a surrogate pair cannot be written, other control signs read."""
    return "".join(
        sign for sign in text if sign >= " " and sign != "\x7f" and not "\ud800" <= sign <= "\udfff"
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    """RIFF chunks begin at even places."""
    return name + len(content).to_bytes(4, "little") + content + b"\0" * (len(content) % 2)
