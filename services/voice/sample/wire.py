"""What passes between the service and the processes that examine recordings."""

import struct
from typing import Any, Final

# What is asked for, in front of the length.
EXAMINE: Final = b"e"
REREAD: Final = b"r"
LENGTH: Final = struct.Struct("<I")
# More than any honest answer; a process that was taken over by a recording cannot fill our memory.
MOST_HEADER_BYTES: Final = 4096
MOST_PART_BYTES: Final = 4 << 20
SAMPLE_RATE: Final = 24_000


def header_of(examined: Any) -> dict[str, object]:
    return {
        "hash": examined.hash,
        "seconds": examined.seconds,
        "transcoded": examined.transcoded,
        "pcm_bytes": len(examined.pcm),
        "mp3_bytes": len(examined.mp3),
    }
