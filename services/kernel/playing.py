"""Audio as players ask for it, in answers over HTTP."""

from typing import Any

from google.api.httpbody_pb2 import HttpBody

from services.kernel.caller import caller
from services.kernel.edge import send_headers
from services.kernel.ranges import range_headers, span


async def played(mp3: bytes, context: Any) -> HttpBody:
    """The whole, or the part that the caller's Range header asks for. Raises RangeNotSatisfiable."""
    part = span(caller().headers.get("range", ""), len(mp3))
    await send_headers(context, range_headers(part, len(mp3)))
    return HttpBody(content_type="audio/mpeg", data=mp3[part.start : part.end] if part else mp3)
