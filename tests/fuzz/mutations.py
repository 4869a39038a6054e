"""Hostile recordings: real ones, damaged, and noise; the same for the same seed and number."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from services.voice.refusals import MAX_UPLOAD_BYTES
from tests import samples

# Where containers keep what they say about themselves.
_HEADER_BYTES: Final = 2048
_MAGIC: Final = (
    b"RIFF\xff\xff\xff\xffWAVEfmt ",
    b"OggS\0\2",
    b"fLaC\0\0\0\x22",
    b"ID3\4\0\0",
    b"\xff\xfb\x90\x64",
)
_MORE_MAGIC: Final = (b"\0\0\0\x18ftypM4A ", b"\x1aE\xdf\xa3")
_EXTREMES: Final = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# One in so many is long enough to be listened to when it survives; that costs half a second.
_LONG_ONE_IN: Final = 16

Mutation = Callable[[Random, bytearray], bytearray]


def hostile(seed: int, number: int) -> bytes:
    """At most as large as an upload may be: what is larger never comes to a decoder."""
    chance = Random(f"{seed}/{number}")
    if chance.random() < 0.05:
        return _noise(chance)
    damaged = bytearray(_recording(chance))
    for mutate in chance.choices(MUTATIONS, k=chance.choice((1, 1, 2, 3))):
        damaged = mutate(chance, damaged)
    return bytes(damaged[:MAX_UPLOAD_BYTES])


def _recording(chance: Random) -> bytes:
    seconds = 36.0 if chance.randrange(_LONG_ONE_IN) == 0 else 5.0
    return samples.speech(suffix=chance.choice(samples.FORMATS), seconds=seconds)


def _noise(chance: Random) -> bytes:
    magic = chance.choice((b"", *_MAGIC, *_MORE_MAGIC))
    return magic + chance.randbytes(chance.choice((0, 1, 11, 300, 5_000, 200_000)))


def _place(chance: Random, damaged: bytearray) -> int:
    """Half of the damage is in the header, where it does most."""
    end = min(len(damaged), _HEADER_BYTES) if chance.random() < 0.5 else len(damaged)
    return chance.randrange(max(end, 1))


def _flipped(chance: Random, damaged: bytearray) -> bytearray:
    for _ in range(chance.choice((1, 4, 32, 256)) if damaged else 0):
        damaged[_place(chance, damaged)] ^= 1 << chance.randrange(8)
    return damaged


def _cut(chance: Random, damaged: bytearray) -> bytearray:
    return damaged[: _place(chance, damaged)]


def _without_a_piece(chance: Random, damaged: bytearray) -> bytearray:
    start = _place(chance, damaged)
    del damaged[start : start + chance.choice((1, 2, 17, 4096, 50_000))]
    return damaged


def _repeated(chance: Random, damaged: bytearray) -> bytearray:
    start = _place(chance, damaged)
    piece = damaged[start : start + chance.choice((4, 64, 1000, 20_000))]
    damaged[start:start] = piece * chance.choice((2, 20, 500))
    return damaged


def _spliced(chance: Random, damaged: bytearray) -> bytearray:
    other = _recording(chance)
    return damaged[: _place(chance, damaged)] + other[chance.randrange(len(other)) :]


def _with_the_header_of_another(chance: Random, damaged: bytearray) -> bytearray:
    length = chance.choice((4, 12, 44, 200, _HEADER_BYTES))
    damaged[:length] = _recording(chance)[:length]
    return damaged


def _overwritten(chance: Random, damaged: bytearray) -> bytearray:
    start, length = _place(chance, damaged), chance.choice((8, 100, 3000))
    damaged[start : start + length] = chance.randbytes(length)
    return damaged


def _lengths_changed(chance: Random, damaged: bytearray, bytes_wide: int) -> bytearray:
    for _ in range(chance.choice((1, 1, 3))):
        start = _place(chance, damaged)
        extreme = chance.choice((*_EXTREMES, len(damaged), chance.getrandbits(32))) % (1 << 8 * bytes_wide)
        written = extreme.to_bytes(bytes_wide, "big")
        damaged[start : start + bytes_wide] = written if chance.random() < 0.5 else written[::-1]
    return damaged


MUTATIONS: Final[tuple[Mutation, ...]] = (
    _flipped,
    _cut,
    _without_a_piece,
    _repeated,
    _spliced,
    _with_the_header_of_another,
    _overwritten,
    *(partial(_lengths_changed, bytes_wide=width) for width in (1, 2, 4, 8)),
)
