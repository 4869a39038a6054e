"""The service's calls: protobuf in, one use case, protobuf out."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TypeAlias

import grpc

from newvisions.auth.v1 import auth_service_pb2 as pb
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceServicer
from services.auth import cookies
from services.auth.domain.accounts import CODES_LAST, SHORTEST_LEGACY_PASSWORD, SHORTEST_PASSWORD
from services.auth.domain.credits import turns_at
from services.auth.domain.preferences import SETTINGS, Setting
from services.auth.keyring import KeyRing
from services.auth.ports import Users
from services.auth.rpc.acting import acting
from services.auth.rpc.clients import client
from services.auth.rpc.moments import moment_of
from services.auth.usecases.administration import Administration
from services.auth.usecases.api_keys import KeyAccess
from services.auth.usecases.audit import AuditLog, Change
from services.auth.usecases.codes import CodeBatches
from services.auth.usecases.credits import Credits, Spoken
from services.auth.usecases.login import Logins
from services.auth.usecases.preferences import replace_settings, update_settings
from services.auth.usecases.registration import Application, Registrations
from services.kernel.caller import caller, owner

Context: TypeAlias = grpc.aio.ServicerContext


@dataclass(frozen=True, slots=True)
class UseCases:
    registrations: Registrations
    logins: Logins
    credits: Credits
    users: Users
    keys: KeyRing
    key_access: KeyAccess
    administration: Administration
    codes: CodeBatches
    audit: AuditLog


class AuthServicer(AuthServiceServicer):
    def __init__(self, ask: UseCases, clock: Callable[[], datetime]) -> None:
        self._ask = ask
        self._clock = clock

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:
        shortest = SHORTEST_LEGACY_PASSWORD if caller().legacy_client else SHORTEST_PASSWORD
        asked = Application(
            request.username, request.email, request.password, request.activation_code, shortest
        )
        user = await self._ask.registrations.register(asked, self._clock())
        return pb.RegisterResponse(user_id=user.user_id, username=user.username, email=user.email)

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        entered = await self._ask.logins.login(request.username, request.password, client(), self._clock())
        user, tokens = entered.user, entered.tokens
        await cookies.send(context, entered.cookie.text, entered.lasts)
        return pb.LoginResponse(
            user_id=user.user_id,
            username=user.username,
            email=user.email,
            access_token=tokens.access,
            refresh_token=tokens.refresh,
            expires_in=tokens.expires_in,
        )

    async def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.RefreshResponse:
        tokens = await self._ask.logins.refresh(request.refresh_token, self._clock())
        return pb.RefreshResponse(
            access_token=tokens.access, refresh_token=tokens.refresh, expires_in=tokens.expires_in
        )

    async def ExchangeSessionCookie(
        self, request: pb.ExchangeSessionCookieRequest, context: Context
    ) -> pb.ExchangeSessionCookieResponse:
        token, lives = await self._ask.logins.admit(request.cookie, self._clock())
        return pb.ExchangeSessionCookieResponse(access_token=token, expires_in=int(lives.total_seconds()))

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        await self._ask.logins.logout(caller().session_id, self._clock())
        await cookies.clear(context)
        return pb.LogoutResponse()

    async def VerifyActivationCode(
        self, request: pb.VerifyActivationCodeRequest, context: Context
    ) -> pb.VerifyActivationCodeResponse:
        valid = await self._ask.registrations.would_accept(request.code, self._clock())
        return pb.VerifyActivationCodeResponse(valid=valid)

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return pb.GetJwksResponse(
            keys=[
                pb.Jwk(kty="OKP", crv="Ed25519", x=key.x, kid=key.kid, alg="EdDSA", use="sig")
                for key in self._ask.keys.published(self._clock())
            ]
        )

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        account = await self._ask.credits.account(owner(request.user_id), self._clock())
        return pb.GetUserResponse(
            user_id=account.user.user_id,
            username=account.user.username,
            email=account.user.email,
            char_count=account.balance.used,
            monthly_limit=account.limit,
            roles=account.user.roles,
        )

    async def GetUserMeta(self, request: pb.GetUserMetaRequest, context: Context) -> pb.GetUserMetaResponse:
        now = self._clock()
        account = await self._ask.credits.account(owner(request.user_id), now)
        return pb.GetUserMetaResponse(
            char_count=account.balance.used,
            monthly_limit=account.limit,
            reserved_chars=account.balance.reserved,
            resets_at=turns_at(now),
        )

    async def GetSettings(self, request: pb.GetSettingsRequest, context: Context) -> pb.GetSettingsResponse:
        user = await self._ask.users.get(owner(request.user_id))
        return pb.GetSettingsResponse(**asdict(user.preferences))

    async def ReplaceSettings(
        self, request: pb.ReplaceSettingsRequest, context: Context
    ) -> pb.ReplaceSettingsResponse:
        user_id, given = owner(request.user_id), _given(request.settings)
        async with self._on_record(user_id, given):
            kept = await replace_settings(self._ask.users, user_id, given)
        return pb.ReplaceSettingsResponse(**asdict(kept))

    async def UpdateSettings(
        self, request: pb.UpdateSettingsRequest, context: Context
    ) -> pb.UpdateSettingsResponse:
        user_id, given = owner(request.user_id), _given(request.settings)
        async with self._on_record(user_id, given):
            kept = await update_settings(self._ask.users, user_id, given)
        return pb.UpdateSettingsResponse(**asdict(kept))

    def _on_record(self, user_id: str, given: dict[str, Setting]) -> AbstractAsyncContextManager[None]:
        """An administrator's change to somebody else is written down; one's own settings are one's own."""
        if user_id == caller().user_id:
            return nullcontext()
        names = Change("settings_changed", user_id, {"settings": ", ".join(sorted(given))})
        return self._ask.audit.recorded(acting(), names, self._clock())

    async def CreateActivationCodes(
        self, request: pb.CreateActivationCodesRequest, context: Context
    ) -> pb.CreateActivationCodesResponse:
        now = self._clock()
        expires_at = now + CODES_LAST
        if request.HasField("expires_at"):
            expires_at = moment_of(request.expires_at)
        codes = await self._ask.codes.create(acting(), request.count, expires_at, now)
        return pb.CreateActivationCodesResponse(
            codes=[each.code for each in codes], expires_at=expires_at, batch_id=codes[0].batch_id
        )

    async def ReserveCredits(
        self, request: pb.ReserveCreditsRequest, context: Context
    ) -> pb.ReserveCreditsResponse:
        began_at = moment_of(request.began_at) if request.HasField("began_at") else None
        spoken = Spoken(request.performance_id.lower(), request.max_characters, request.model, began_at)
        entry, user = await self._ask.credits.reserve(request.user_id, spoken, self._clock())
        settings = pb.GetSettingsResponse(**asdict(user.preferences))
        return pb.ReserveCreditsResponse(reserved=entry.reserved, settings=settings)

    async def SettleCredits(
        self, request: pb.SettleCreditsRequest, context: Context
    ) -> pb.SettleCreditsResponse:
        spoken = Spoken(request.performance_id.lower(), request.characters, request.model)
        entry, account = await self._ask.credits.settle(request.user_id, spoken, self._clock())
        return pb.SettleCreditsResponse(
            charged=entry.charged, char_count=account.balance.used, monthly_limit=account.limit
        )

    async def ReleaseCredits(
        self, request: pb.ReleaseCreditsRequest, context: Context
    ) -> pb.ReleaseCreditsResponse:
        await self._ask.credits.release(request.user_id, request.performance_id.lower(), self._clock())
        return pb.ReleaseCreditsResponse()


def _given(settings: pb.Settings) -> dict[str, Setting]:
    return {name: getattr(settings, name) for name in SETTINGS if settings.HasField(name)}
