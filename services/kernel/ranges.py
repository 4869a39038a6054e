"""A part of a file, as players ask for it: iOS plays no audio from who cannot give it in parts."""

import re
from dataclasses import dataclass

from services.kernel.errors import Kind, ServiceError


class RangeNotSatisfiable(ServiceError):
    kind, reason = Kind.RANGE, "RANGE_NOT_SATISFIABLE"
    action = "Ask for a range within the audio."


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


def span(header: str, size: int) -> Span | None:
    """What a Range header asks for; None for the whole, also when it asks in a way we need not know."""
    found = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", header, re.IGNORECASE | re.ASCII)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        asked = Span(max(0, size - int(found[2])), size)
    else:
        last = int(found[2]) if found[2] else size - 1
        if last < int(found[1]) and found[2]:
            return None
        asked = Span(int(found[1]), min(last + 1, size))
    if asked.start >= asked.end:
        too_far = RangeNotSatisfiable(f"The audio has {size} bytes.")
        too_far.headers = (("content-range", f"bytes */{size}"),)
        raise too_far
    return asked


def range_headers(part: Span | None, size: int) -> tuple[tuple[str, str], ...]:
    """What goes out before the audio, whether it is a part or the whole."""
    accepts = ("accept-ranges", "bytes")
    if part is None:
        return (accepts,)
    within = f"bytes {part.start}-{part.end - 1}/{size}"
    # The gateway turns the first into the status; transcoding alone would answer 200.
    return (("x-http-status", "206"), ("content-range", within), accepts)
