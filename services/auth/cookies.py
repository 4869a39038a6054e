"""The session cookie of clients that send no Authorization header.

The headers of an answer go out before its body, so a cookie is sent only when nothing can fail any more.
"""

from http.cookies import SimpleCookie

import grpc

from services.kernel.caller import caller
from services.kernel.edge import send_headers

NAME = "newvisions_session"


def came_with_one() -> bool:
    return NAME in SimpleCookie(caller().headers.get("cookie", ""))


async def send(context: grpc.aio.ServicerContext, access_token: str, seconds: int) -> None:
    """The cookie ends together with the token that it holds."""
    cookie = f"{NAME}={access_token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{_secure()}"
    await send_headers(context, (("set-cookie", cookie),))


async def clear(context: grpc.aio.ServicerContext) -> None:
    cookie = f"{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{_secure()}"
    await send_headers(context, (("set-cookie", cookie),))


def _secure() -> str:
    return "; Secure" if caller().headers.get("x-forwarded-proto") == "https" else ""
