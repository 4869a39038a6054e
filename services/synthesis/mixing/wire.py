"""What the service and its mixing processes write to each other: a fixed header, then what it announces.

Only plain numbers, JSON and audio: neither side has to trust the other to read it.
"""

import json
from dataclasses import asdict
from struct import Struct
from typing import Any, BinaryIO, Final

from services.synthesis.domain import Background, Format, Labels, Medium, Order, Piece, Sound, Summary

# What is asked, of which memo, its turn, bytes that follow.
QUESTION: Final = Struct("!cQdI")
OPEN, FIRST, ADD, END, DROP = b"o", b"f", b"a", b"e", b"d"

# What became of it, of which memo, bytes of JSON, bytes of audio.
ANSWER: Final = Struct("!cQII")
READY, DONE, REFUSED, CRASHED = b"r", b"d", b"n", b"c"


def question(what: bytes, memo: int, turn: float = 0.0, body: bytes = b"") -> bytes:
    return QUESTION.pack(what, memo, turn, len(body)) + body


def read_question(stream: BinaryIO) -> tuple[bytes, int, float, bytes] | None:
    """None when the service is gone."""
    header = stream.read(QUESTION.size)
    if len(header) < QUESTION.size:
        return None
    what, memo, turn, length = QUESTION.unpack(header)
    return what, memo, turn, stream.read(length)


def answer(how: bytes, memo: int, said: dict[str, Any] | None = None, audio: bytes = b"") -> bytes:
    coded = json.dumps(said).encode() if said else b""
    return ANSWER.pack(how, memo, len(coded), len(audio)) + coded + audio


def opening(order: Order, sample_rate: int) -> bytes:
    """The part of an order that mixing is about."""
    said = {
        "sample_rate": sample_rate,
        "labels": asdict(order.labels),
        "background": asdict(order.background),
        "medium": asdict(order.medium),
    }
    return json.dumps(said).encode()


def opened(body: bytes) -> tuple[int, Labels, Background, Medium]:
    said = json.loads(body)
    background, medium = said["background"], said["medium"]
    return (
        said["sample_rate"],
        Labels(**said["labels"]),
        Background(**{**background, "sound": Sound(background["sound"])}),
        Medium(**{**medium, "format": Format(medium["format"])}),
    )


def summary(piece: Piece) -> dict[str, Any]:
    return asdict(piece.summary) if piece.summary else {}


def summed_up(said: dict[str, Any]) -> Summary:
    return Summary(said["duration_seconds"], tuple(said["waveform"]))
