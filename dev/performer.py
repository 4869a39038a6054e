"""A performer at the gateway: what the mobile client does, for the demo, the tests and the benches."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx

PASSWORD = "correct horse battery"  # noqa: S105 - of users that live for one run  # pragma: allowlist secret


class Refused(Exception):
    """The gateway answered with an error; the message is its own sentence."""


def accepted(response: httpx.Response) -> dict[str, Any]:
    """The JSON of a good answer. Raises Refused."""
    if response.is_success:
        return dict(response.json()) if response.content else {}
    try:
        said = response.json()
    except ValueError:
        said = {"error": "no JSON", "message": response.text[:200]}
    request = response.request
    raise Refused(
        f"{request.method} {request.url.path} was answered {response.status_code} "
        f"{said.get('error')}: {said.get('message')} {said.get('action', '')}".strip()
    )


class Performer:
    """A registered and signed-in user. Methods return the raw answer."""

    def __init__(self, http: httpx.AsyncClient, user_id: str, username: str, refresh_token: str) -> None:
        self.http = http
        self.user_id = user_id
        self.username = username
        self.refresh_token = refresh_token

    @classmethod
    @asynccontextmanager
    async def signed_up(cls, url: str, code: str, username: str = "") -> AsyncIterator[Self]:
        """Registers a new user with the code and logs in; requests carry the access token."""
        username = username or f"performer-{uuid.uuid4().hex[:12]}"
        # A stack is on this machine; the proxy that the environment may name is not.
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
            account = {"username": username, "email": f"{username}@example.com", "password": PASSWORD}
            accepted(await http.post("/v1/auth/register", json={**account, "activationCode": code}))
            yield await cls.logged_in(http, username)

    @classmethod
    async def logged_in(cls, http: httpx.AsyncClient, username: str) -> Self:
        answer = await http.post("/v1/auth/login", json={"username": username, "password": PASSWORD})
        session = accepted(answer)
        http.headers["authorization"] = f"Bearer {session['access_token']}"
        return cls(http, session["user_id"], username, session["refresh_token"])

    async def set(self, **settings: Any) -> httpx.Response:
        return await self.http.patch("/v1/users/me/settings", json=settings)

    async def upload(self, sample: bytes, mime: str = "audio/mpeg") -> httpx.Response:
        headers = {"content-type": mime}
        return await self.http.post("/v1/users/me/voice:upload", content=sample, headers=headers)

    async def perform(self, value: str, routine: str = "cards", **override: Any) -> httpx.Response:
        return await self.http.post("/v1/perform", json=request(value, routine, **override))

    @asynccontextmanager
    async def stream(
        self, value: str, routine: str = "cards", **override: Any
    ) -> AsyncIterator[httpx.Response]:
        body = request(value, routine, **override)
        async with self.http.stream("POST", "/v1/perform:stream", json=body) as response:
            yield response

    async def credits(self) -> dict[str, Any]:
        return accepted(await self.http.get("/v1/users/me/meta"))

    async def recordings(self) -> list[dict[str, Any]]:
        return list(accepted(await self.http.get("/v1/recordings"))["recordings"])


def request(value: str, routine: str, **override: Any) -> dict[str, Any]:
    """The body of a perform."""
    body: dict[str, Any] = {"routine_type": routine, "value": value}
    return {**body, "settings_override": override} if override else body
