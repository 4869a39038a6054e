"""The session cookie of clients that send no Authorization header.

The headers of an answer go out before its body, so a cookie is sent only when nothing can fail any more.
"""

from datetime import timedelta

import grpc

from services.kernel.caller import caller
from services.kernel.edge import send_headers

NAME = "newvisions_session"


async def send(context: grpc.aio.ServicerContext, text: str, lasts: timedelta) -> None:
    """The cookie ends together with the session that it stands for."""
    seconds = int(lasts.total_seconds())
    cookie = f"{NAME}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{_secure()}"
    await send_headers(context, (("set-cookie", cookie),))


async def clear(context: grpc.aio.ServicerContext) -> None:
    cookie = f"{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{_secure()}"
    await send_headers(context, (("set-cookie", cookie),))


def _secure() -> str:
    return "; Secure" if caller().headers.get("x-forwarded-proto") == "https" else ""
