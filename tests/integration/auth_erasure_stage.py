"""The auth service among services that can be away, and users who have left traces everywhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import api_key_service_pb2 as key_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.composition import Built, build
from services.auth.everywhere import Everywhere, reach
from services.auth.settings import Settings
from services.kernel.client import Channels
from services.kernel.clock import clock
from tests.integration.auth_channel import (
    ADMIN,
    PASSWORD,
    Auth,
    environment,
    new_user,
    serving,
    signed_in,
)
from tests.integration.auth_elsewhere import Elsewhere, elsewhere

PATIENCE = 10.0


@dataclass
class Stage:
    auth: Auth
    away: Elsewhere
    variables: dict[str, str]
    # As another replica has it, whose clock the tests turn.
    everywhere: Everywhere
    settings: Settings
    built: Built

    async def documents(self, collection: str = "") -> list[str]:
        """All that is kept, in words."""
        async with AsyncMongoClient[dict[str, Any]](self.variables["AUTH_MONGO_URL"]) as client:
            database = client[self.variables["AUTH_DATABASE"]]
            names = [collection] if collection else sorted(await database.list_collection_names())
            return [str(each) for name in names async for each in database[name].find().sort("_id")]

    async def proof(self, erasure_id: str) -> dict[str, Any]:
        async with AsyncMongoClient[dict[str, Any]](
            self.variables["AUTH_MONGO_URL"], tz_aware=True
        ) as client:
            erasures = client[self.variables["AUTH_DATABASE"]]["erasures"]
            found = await erasures.find_one({"_id": erasure_id})
            assert found is not None
            return found

    async def resume(self, after: timedelta = timedelta(0)) -> int:
        return await self.everywhere.erasures.resume(clock() + after, PATIENCE)

    def erase(self, user: Any, password: str = PASSWORD, by: Any = None, roles: str = "user") -> Any:
        request = account_pb.EraseAccountRequest(user_id=user.user_id, password=password)
        return self.auth.account.EraseAccount(request, metadata=signed_in((by or user).user_id, roles))

    async def erased_at_last(self, user: Any) -> Any:
        """After a service came back: a channel that lost it tries again in its own time."""
        after = timedelta(minutes=2)
        async with asyncio.timeout(20):
            while (answer := await self.erase(user)).state != "done":
                await self.resume(after)
                after += timedelta(minutes=2)
        return answer

    async def login(self, user: Any) -> Any:
        return await self.auth.auth.Login(pb.LoginRequest(username=user.username, password=PASSWORD))

    async def archive(self) -> None:
        """Outcomes move to the archive, as they do after a quarter of an hour."""
        await self.built.ask.credits.return_expired(clock() + timedelta(minutes=16))

    async def keyed(self) -> Any:
        """A user whose registration and API key were asked for under an Idempotency-Key."""
        made = await self.auth.auth.CreateActivationCodes(
            pb.CreateActivationCodesRequest(count=1), metadata=ADMIN
        )
        name, key = f"u{uuid4().hex[:12]}", ("idempotency-key", uuid4().hex)
        asked = pb.RegisterRequest(
            username=name, email=f"{name}@example.org", password=PASSWORD, activation_code=made.codes[0]
        )
        user = await self.auth.auth.Register(asked, metadata=(key,))
        studio = key_pb.CreateApiKeyRequest(name="studio")
        await self.auth.api_keys.CreateApiKey(studio, metadata=(*signed_in(user.user_id), key))
        return user

    async def lived(self) -> Any:
        """A user who has left a trace in every collection."""
        user, performance = await new_user(self.auth), str(uuid4())
        me = signed_in(user.user_id)
        await self.login(user)
        await self.auth.api_keys.CreateApiKey(key_pb.CreateApiKeyRequest(name="studio"), metadata=me)
        named = pb.Settings(voice_note_name="Ana's walk")
        await self.auth.auth.UpdateSettings(pb.UpdateSettingsRequest(settings=named), metadata=me)
        for ended in (performance, str(uuid4())):
            reserve = pb.ReserveCreditsRequest(user_id=user.user_id, performance_id=ended, max_characters=99)
            await self.auth.auth.ReserveCredits(reserve)
        settle = pb.SettleCreditsRequest(user_id=user.user_id, performance_id=performance, characters=90)
        await self.auth.auth.SettleCredits(settle)
        adjust = admin_pb.AdjustCreditsRequest(
            user_id=user.user_id, adjustment_id=str(uuid4()), amount=7, reason=f"for {user.username}"
        )
        await self.auth.admin.AdjustCredits(adjust, metadata=ADMIN)
        return user


@asynccontextmanager
async def _replica(variables: dict[str, str]) -> AsyncIterator[tuple[Everywhere, Settings, Built]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        settings = Settings()  # type: ignore[call-arg]
    channels = Channels({}, frozenset())
    async with build(settings) as built:
        yield reach(settings, built, channels), settings, built
    await channels.close()


@asynccontextmanager
async def open_stage(mongo_url: str, valkey_url: str, folder: Path, **changes: str) -> AsyncIterator[Stage]:
    async with elsewhere() as away:
        variables = environment(
            mongo_url,
            valkey_url,
            folder,
            **{
                # The tests sweep, with their own clock.
                "AUTH_SWEEP_SECONDS": "200",
                "AUTH_PEER_SECONDS": "2",
                "AUTH_AUDIT_RETENTION_DAYS": "400",
                "AUTH_CREDIT_RETENTION_DAYS": "400",
                "AUTH_UNUSED_ACCOUNT_DAYS": "365",
                **away.environment,
                **changes,
            },
        )
        async with serving(variables) as auth, _replica(variables) as replica:
            yield Stage(auth, away, variables, *replica)
