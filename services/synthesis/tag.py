"""The ID3v2.3 tag in front of the audio: what it is, and that a machine spoke it.

Written here because a stream's tag comes before its first frame, and because muxers put the
comment where players do not look for it.
"""

from services.synthesis.domain import Labels

_TEXT_IS_UTF16 = b"\x01"


def ai_generated(labels: Labels) -> bytes:
    """The tag of every memo."""
    recording = f" Recording {labels.recording_id}." if labels.recording_id else ""
    frames = [
        _frame(b"TIT2", _text(labels.title)) if labels.title else b"",
        _comment(f"AI-generated voice, made with New Visions.{recording}"),
        _own("AI_GENERATED", "true"),
        _own("RECORDING_ID", labels.recording_id) if labels.recording_id else b"",
        _frame(b"TSSE", _text("New Visions")),
    ]
    return _tag(frames)


def sound(title: str) -> bytes:
    """The tag of a sound in which nobody speaks."""
    return _tag([_frame(b"TIT2", _text(title)), _frame(b"TSSE", _text("New Visions"))])


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
    """With a byte order mark; a NUL would end the text early, other control signs are unreadable."""
    printable = "".join(sign for sign in text if sign >= " " and sign != "\x7f")
    return b"\xff\xfe" + printable.encode("utf-16-le", "replace")
