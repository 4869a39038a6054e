"""Who calls: registration, login, tokens."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from pymongo.errors import DuplicateKeyError

from bench.baseline.house import OpenHouse, refused
from bench.baseline.settings import Settings

routes = APIRouter(prefix="/v1")
# The cost that ours has.
_passwords = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_bearer = HTTPBearer()
_REFRESH_DAYS = 30


class Registration(BaseModel):
    username: str = Field(min_length=3, max_length=32)
    email: str = Field(max_length=320)
    password: str = Field(min_length=8, max_length=128)


class Login(BaseModel):
    username: str
    password: str


async def signed_in(
    house: OpenHouse, token: Annotated[HTTPAuthorizationCredentials, Depends(_bearer)]
) -> str:
    secret = house.settings.token_secret.get_secret_value()
    try:
        claims = jwt.decode(token.credentials, secret, ["HS256"], audience="access")
    except jwt.InvalidTokenError:
        raise refused(401, "TOKEN_INVALID", "You are not signed in.") from None
    return str(claims["sub"])


UserId = Annotated[str, Depends(signed_in)]


@routes.post("/auth/register")
async def register(house: OpenHouse, asked: Registration) -> dict[str, str]:
    user: dict[str, Any] = {
        "_id": str(uuid4()),
        "username": asked.username.lower(),
        "email": asked.email,
        "password": await house.in_a_thread(_passwords.hash, asked.password),
        "used": {},
    }
    try:
        await house.database.users.insert_one(user)
    except DuplicateKeyError:
        raise refused(409, "USERNAME_TAKEN", "This name is taken.") from None
    return {"user_id": user["_id"], "username": asked.username, "email": asked.email}


@routes.post("/auth/login")
async def login(house: OpenHouse, asked: Login) -> dict[str, Any]:
    user = await house.database.users.find_one({"username": asked.username.lower()})
    if user is None:
        raise refused(401, "CREDENTIALS_WRONG", "Name or password is wrong.")
    try:
        await house.in_a_thread(_passwords.verify, user["password"], asked.password)
    except VerificationError:
        raise refused(401, "CREDENTIALS_WRONG", "Name or password is wrong.") from None
    lives = timedelta(seconds=house.settings.token_seconds)
    return {
        "user_id": user["_id"],
        "username": user["username"],
        "access_token": _token(house.settings, user["_id"], "access", lives),
        "refresh_token": _token(house.settings, user["_id"], "refresh", timedelta(days=_REFRESH_DAYS)),
        "expires_in": house.settings.token_seconds,
    }


@routes.get("/users/me/meta")
async def meta(house: OpenHouse, user_id: UserId) -> dict[str, int]:
    user = await find_user(house, user_id)
    return {"charCount": user["used"].get(month(), 0), "monthlyLimit": house.settings.monthly_limit}


async def find_user(house: OpenHouse, user_id: str) -> dict[str, Any]:
    user = await house.database.users.find_one({"_id": user_id})
    if user is None:
        raise refused(401, "TOKEN_INVALID", "You are not signed in.")
    return user


def month() -> str:
    """Under which name this month's credits are counted."""
    return datetime.now(UTC).strftime("%Y-%m")


def _token(settings: Settings, user_id: str, audience: str, lives: timedelta) -> str:
    claims = {"sub": user_id, "aud": audience, "exp": datetime.now(UTC) + lives}
    return jwt.encode(claims, settings.token_secret.get_secret_value(), "HS256")
