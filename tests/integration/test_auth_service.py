"""The whole auth service: real server, real socket, real document store."""

import asyncio
import base64
import json
import os
import re
import sys
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import jwt
import pytest
from jwt import PyJWK
from pymongo import AsyncMongoClient

from newvisions.auth.v1 import auth_service_pb2 as pb
from newvisions.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from newvisions.edge.v1 import edge_pb2
from services.auth.__main__ import open_service
from services.kernel.client import Channels
from services.kernel.server import Handlers
from services.kernel.statuses import api_error

PASSWORD = "correct horse"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ADMIN = (("x-user-id", str(uuid4())), ("x-user-roles", "user admin"))


def environment(mongo_url: str, keys: Path, **changes: str) -> dict[str, str]:
    key_file = keys / "auth.key"
    if not key_file.exists():
        key_file.write_text(os.urandom(32).hex())
    return {
        "AUTH_MONGO_URL": mongo_url,
        "AUTH_DATABASE": f"auth_{uuid4().hex}",
        # Nothing listens there: signing in works without it, and unhindered.
        "AUTH_VALKEY_URL": "redis://127.0.0.1:9/0",
        "AUTH_KEY_FILE": str(key_file),
        # Nobody is there: only erasing and exporting an account call other services.
        "AUTH_VOICE_ADDRESS": "127.0.0.1:9",
        "AUTH_PERFORM_ADDRESS": "127.0.0.1:9",
        "AUTH_CONTENT_ADDRESS": "127.0.0.1:9",
        # Hashing at full cost has its own tests; here it would only be slow.
        "AUTH_ARGON2_MEMORY_KIB": "1024",
        "AUTH_ARGON2_TIME_COST": "1",
        **changes,
    }


@asynccontextmanager
async def serving(variables: dict[str, str]) -> AsyncIterator[AuthServiceStub]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        handlers = Handlers()
        async with open_service(handlers, Channels(handlers, frozenset())):
            server = grpc.aio.server()
            handlers.attach_to(server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield AuthServiceStub(channel)  # type: ignore[no-untyped-call]
            await server.stop(None)


@pytest.fixture(scope="module")
def variables(mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(mongo_url, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
async def auth(variables: dict[str, str]) -> AsyncIterator[AuthServiceStub]:
    async with serving(variables) as stub:
        yield stub


async def refused(call: Any) -> edge_pb2.ApiError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    error, _ = api_error(failure.value)
    assert error is not None
    assert error.message
    assert error.action
    return error


async def new_code(auth: AuthServiceStub) -> str:
    made = await auth.CreateActivationCodes(pb.CreateActivationCodesRequest(count=1), metadata=ADMIN)
    return str(made.codes[0])


def application(code: str, **changes: str) -> pb.RegisterRequest:
    name = f"u{uuid4().hex[:12]}"
    filled = {"username": name, "email": f"{name}@example.org", "password": PASSWORD, "activation_code": code}
    return pb.RegisterRequest(**{**filled, **changes})


async def new_user(auth: AuthServiceStub, **changes: str) -> Any:
    return await auth.Register(application(await new_code(auth), **changes))


def as_user(user: pb.RegisterResponse, *more: tuple[str, str]) -> dict[str, Any]:
    return {"metadata": (("x-user-id", user.user_id), ("x-user-roles", "user"), *more)}


async def login(auth: AuthServiceStub, user: pb.RegisterResponse) -> Any:
    return await auth.Login(pb.LoginRequest(username=user.username, password=PASSWORD))


async def valid(auth: AuthServiceStub, code: str) -> bool:
    return bool((await auth.VerifyActivationCode(pb.VerifyActivationCodeRequest(code=code))).valid)


async def change_code(variables: dict[str, str], code: str, fields: dict[str, Any]) -> None:
    """As time or a crash would."""
    async with AsyncMongoClient[dict[str, Any]](variables["AUTH_MONGO_URL"]) as client:
        codes = client[variables["AUTH_DATABASE"]]["activation_codes"]
        assert (await codes.update_one({"_id": code}, {"$set": fields})).matched_count == 1


async def test_a_code_makes_a_user_once(auth: AuthServiceStub) -> None:
    code = await new_code(auth)
    assert await valid(auth, code)
    user = await auth.Register(application(code, username="Ana.María", email="Ana@example.org"))
    assert (user.username, user.email) == ("Ana.María", "Ana@example.org")
    assert not await valid(auth, code)
    assert (await refused(auth.Register(application(code)))).error == "ACTIVATION_CODE_INVALID"


@pytest.mark.parametrize("code", ["AAAAAAAAAAA", "short", "with-dashes"])
async def test_a_code_that_was_never_made_is_refused(auth: AuthServiceStub, code: str) -> None:
    assert not await valid(auth, code)
    assert (await refused(auth.Register(application(code)))).http_status == 400


async def test_an_expired_code_is_refused(auth: AuthServiceStub, variables: dict[str, str]) -> None:
    code = await new_code(auth)
    await change_code(variables, code, {"expires_at": datetime.now(UTC)})
    assert not await valid(auth, code)
    assert (await refused(auth.Register(application(code)))).error == "ACTIVATION_CODE_INVALID"


async def test_a_username_in_other_letters_is_taken_and_costs_no_code(auth: AuthServiceStub) -> None:
    name = f"José{uuid4().hex[:8]}"
    await new_user(auth, username=name)
    code = await new_code(auth)
    for same in (name, name.upper(), unicodedata.normalize("NFD", name)):
        error = await refused(auth.Register(application(code, username=same)))
        assert (error.error, error.http_status) == ("USERNAME_TAKEN", 409)
        assert await valid(auth, code)
    await auth.Register(application(code))


async def test_an_email_in_other_letters_is_taken_and_costs_no_code(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    code = await new_code(auth)
    error = await refused(auth.Register(application(code, email=user.email.upper())))
    assert (error.error, error.http_status) == ("EMAIL_TAKEN", 409)
    assert await valid(auth, code)


async def test_a_user_whose_process_died_before_noting_it_has_spent_the_code(
    auth: AuthServiceStub, variables: dict[str, str]
) -> None:
    code = await new_code(auth)
    await auth.Register(application(code))
    await change_code(variables, code, {"state": "unused", "claimed_until": LONG_AGO})
    assert (await refused(auth.Register(application(code)))).error == "ACTIVATION_CODE_INVALID"
    assert not await valid(auth, code)


@pytest.mark.parametrize(("path", "length", "fine"), [("/v1", 7, False), ("/v1", 8, True), ("/api", 6, True)])
async def test_passwords_are_as_long_as_the_route_asks(
    auth: AuthServiceStub, path: str, length: int, fine: bool
) -> None:
    call = auth.Register(
        application(await new_code(auth), password="p" * length),
        metadata=(("x-envoy-original-path", f"{path}/auth/register"),),
    )
    if fine:
        await call
    else:
        error = await refused(call)
        assert (error.error, error.http_status) == ("PASSWORD_TOO_WEAK", 400)


@pytest.mark.parametrize(
    "broken",
    [
        {"username": "\u0301\u0301\u0301"},
        {"username": "ab"},
        {"username": "a b c"},
        {"username": "a@b"},
        {"email": "no"},
        {"password": "12345"},
    ],
)
async def test_a_malformed_registration_is_refused(auth: AuthServiceStub, broken: dict[str, Any]) -> None:
    code = await new_code(auth)
    error = await refused(auth.Register(application(code, **broken)))
    assert (error.error, error.http_status) == ("INVALID_REQUEST", 400)
    assert await valid(auth, code)


async def test_only_administrators_make_codes(auth: AuthServiceStub) -> None:
    call = auth.CreateActivationCodes(
        pb.CreateActivationCodesRequest(count=1), **as_user(await new_user(auth))
    )
    assert (await refused(call)).http_status == 403


async def test_a_login_gives_a_token_that_the_published_keys_verify(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    session = await login(auth, user)
    published = {key.kid: key for key in (await auth.GetJwks(pb.GetJwksRequest())).keys}
    key = published[jwt.get_unverified_header(session.access_token)["kid"]]
    members = {name.name: value for name, value in key.ListFields()}
    claims = jwt.decode(
        session.access_token, PyJWK(members), ["EdDSA"], audience="newvisions", issuer="newvisions"
    )
    assert (claims["sub"], claims["roles"]) == (user.user_id, "user")
    assert claims["exp"] - claims["iat"] == session.expires_in == 900
    assert {"sid", "jti", "nbf"} <= claims.keys()
    assert set(members) == {"kty", "crv", "x", "kid", "alg", "use"}


async def test_login_is_by_username_or_email_in_any_case(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    for name in (user.username.upper(), user.email.upper()):
        assert (await auth.Login(pb.LoginRequest(username=name, password=PASSWORD))).user_id == user.user_id


async def test_a_wrong_password_and_an_unknown_user_fail_alike(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    wrong = await refused(auth.Login(pb.LoginRequest(username=user.username, password="wrong horse")))
    unknown = await refused(auth.Login(pb.LoginRequest(username="nobody-at-all", password=PASSWORD)))
    assert wrong == unknown
    assert (wrong.error, wrong.http_status) == ("CREDENTIALS_INVALID", 401)


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
async def test_login_sets_the_session_cookie_and_logout_clears_it(
    auth: AuthServiceStub, scheme: str, secure: bool
) -> None:
    user = await new_user(auth)
    over = (("x-forwarded-proto", scheme),)
    call = auth.Login(pb.LoginRequest(username=user.username, password=PASSWORD), metadata=over)
    cookie, *attributes = str(dict(await call.initial_metadata())["set-cookie"]).split("; ")
    assert re.fullmatch(r"newvisions_session=nvs_[0-9a-f]{32}[\w-]{43}", cookie)
    await call
    expected = {"Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Lax"} | ({"Secure"} if secure else set())
    assert set(attributes) == expected

    logout = auth.Logout(pb.LogoutRequest(), **as_user(user, *over))
    cleared = str(dict(await logout.initial_metadata())["set-cookie"])
    assert cleared.startswith("newvisions_session=; ")
    assert "Max-Age=0" in cleared
    assert ("Secure" in cleared) is secure


async def test_a_failed_login_sends_no_cookie(auth: AuthServiceStub) -> None:
    call = auth.Login(pb.LoginRequest(username="nobody-at-all", password=PASSWORD))
    await refused(call)
    assert "set-cookie" not in dict(await call.initial_metadata())


def refresh(auth: AuthServiceStub, token: str) -> Any:
    return auth.Refresh(pb.RefreshRequest(refresh_token=token))


async def test_a_refresh_token_gives_the_next_pair(auth: AuthServiceStub) -> None:
    session = await login(auth, await new_user(auth))
    second = await refresh(auth, session.refresh_token)
    third = await refresh(auth, second.refresh_token)
    assert len({session.refresh_token, second.refresh_token, third.refresh_token}) == 3
    old = jwt.decode(session.access_token, options={"verify_signature": False})
    new = jwt.decode(third.access_token, options={"verify_signature": False})
    assert (old["sub"], old["sid"]) == (new["sub"], new["sid"])
    assert old["jti"] != new["jti"]


async def test_a_lost_answer_may_be_asked_for_again_and_gives_the_same_successor(
    auth: AuthServiceStub,
) -> None:
    session = await login(auth, await new_user(auth))
    pairs = await asyncio.gather(*(refresh(auth, session.refresh_token) for _ in range(5)))
    assert len({pair.refresh_token for pair in pairs}) == 1
    assert await refresh(auth, pairs[0].refresh_token)


async def test_using_an_old_refresh_token_ends_the_session(auth: AuthServiceStub) -> None:
    session = await login(auth, await new_user(auth))
    second = await refresh(auth, session.refresh_token)
    third = await refresh(auth, second.refresh_token)
    for token in (session.refresh_token, third.refresh_token, second.refresh_token):
        error = await refused(refresh(auth, token))
        assert (error.error, error.http_status) == ("REFRESH_TOKEN_INVALID", 401)


async def test_a_guessed_refresh_token_is_refused_and_ends_nothing(auth: AuthServiceStub) -> None:
    session = await login(auth, await new_user(auth))
    packed = bytearray(base64.urlsafe_b64decode(session.refresh_token[4:] + "=="))
    packed[30] ^= 1
    guess = "nvr_" + base64.urlsafe_b64encode(packed).decode().rstrip("=")
    assert (await refused(refresh(auth, guess))).error == "REFRESH_TOKEN_INVALID"
    assert await refresh(auth, session.refresh_token)


async def test_logout_ends_the_session(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    session, other = await login(auth, user), await login(auth, user)
    sid = jwt.decode(session.access_token, options={"verify_signature": False})["sid"]
    await auth.Logout(pb.LogoutRequest(), **as_user(user, ("x-session-id", sid)))
    assert (await refused(refresh(auth, session.refresh_token))).http_status == 401
    assert await refresh(auth, other.refresh_token)


async def test_the_store_holds_no_secret_in_the_clear(
    auth: AuthServiceStub, variables: dict[str, str]
) -> None:
    user = await new_user(auth)
    session = await login(auth, user)
    async with AsyncMongoClient[dict[str, Any]](variables["AUTH_MONGO_URL"]) as client:
        database = client[variables["AUTH_DATABASE"]]
        kept = [
            str(document)
            for name in await database.list_collection_names()
            async for document in database[name].find()
        ]
    for secret in (PASSWORD, session.refresh_token, session.access_token):
        assert not any(secret in document for document in kept)


async def test_settings_start_as_defaults_and_keep_zero_and_one(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    me = as_user(user)
    start = await auth.GetSettings(pb.GetSettingsRequest(user_id="me"), **me)
    assert (start.voice_language, start.voice_stability, start.voice_similarity) == ("en", 50, 75)
    assert not start.HasField("voice_note_name")
    change = pb.Settings(voice_stability=0, voice_similarity=1, background_volume=0, voice_language="spanish")
    await auth.UpdateSettings(pb.UpdateSettingsRequest(user_id="me", settings=change), **me)
    read = await auth.GetSettings(pb.GetSettingsRequest(user_id=user.user_id), **me)
    assert (read.voice_stability, read.voice_similarity, read.background_volume) == (0, 1, 0)
    assert (read.voice_language, read.speaker_sex) == ("es", "male")


async def test_replacing_settings_resets_what_is_absent(auth: AuthServiceStub) -> None:
    me = as_user(await new_user(auth))
    change = pb.Settings(voice_note_name="Monday", voice_note_date="2026-02-28", background_sound=True)
    await auth.UpdateSettings(pb.UpdateSettingsRequest(user_id="me", settings=change), **me)
    cleared = pb.UpdateSettingsRequest(user_id="me", settings=pb.Settings(voice_note_date=""))
    kept = await auth.UpdateSettings(cleared, **me)
    assert kept.voice_note_name == "Monday"
    assert not kept.HasField("voice_note_date")
    only = pb.ReplaceSettingsRequest(user_id="me", settings=pb.Settings(speaker_sex="female"))
    replaced = await auth.ReplaceSettings(only, **me)
    assert (replaced.speaker_sex, replaced.background_sound) == ("female", False)
    assert not replaced.HasField("voice_note_name")


@pytest.mark.parametrize(
    "broken",
    [
        {"voice_stability": 101},
        {"voice_similarity": -1},
        {"speaker_sex": "robot"},
        {"voice_note_date": "2026-02-30"},
        {"voice_note_name": "x" * 51},
        {"voice_language": "e"},
    ],
)
async def test_settings_that_break_a_rule_change_nothing(
    auth: AuthServiceStub, broken: dict[str, Any]
) -> None:
    me = as_user(await new_user(auth))
    settings = pb.Settings(**{"background_sound": True, **broken})
    error = await refused(auth.UpdateSettings(pb.UpdateSettingsRequest(settings=settings), **me))
    assert (error.error, error.http_status) == ("INVALID_REQUEST", 400)
    assert not (await auth.GetSettings(pb.GetSettingsRequest(), **me)).background_sound


async def test_another_user_looks_like_an_unknown_one(auth: AuthServiceStub) -> None:
    me, other = as_user(await new_user(auth)), await new_user(auth)
    answers = []
    for user_id in (other.user_id, str(uuid4())):
        answers += [
            await refused(auth.GetUser(pb.GetUserRequest(user_id=user_id), **me)),
            await refused(auth.GetUserMeta(pb.GetUserMetaRequest(user_id=user_id), **me)),
            await refused(auth.GetSettings(pb.GetSettingsRequest(user_id=user_id), **me)),
            await refused(
                auth.ReplaceSettings(pb.ReplaceSettingsRequest(user_id=user_id, settings=pb.Settings()), **me)
            ),
        ]
    assert {(error.error, error.http_status) for error in answers} == {("USER_NOT_FOUND", 404)}


async def test_an_administrator_sees_any_user_but_none_that_does_not_exist(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    seen = await auth.GetUser(pb.GetUserRequest(user_id=user.user_id), metadata=ADMIN)
    assert (seen.username, list(seen.roles), seen.monthly_limit) == (user.username, ["user"], 4000)
    missing = auth.GetUser(pb.GetUserRequest(user_id="no such id"), metadata=ADMIN)
    assert (await refused(missing)).http_status == 404


def reserve(user: pb.RegisterResponse, performance: str, characters: int) -> pb.ReserveCreditsRequest:
    return pb.ReserveCreditsRequest(
        user_id=user.user_id, performance_id=performance, max_characters=characters, model="local"
    )


async def meta(auth: AuthServiceStub, user: pb.RegisterResponse) -> Any:
    return await auth.GetUserMeta(pb.GetUserMetaRequest(user_id="me"), **as_user(user))


async def test_credits_are_reserved_then_settled_at_what_was_spent(auth: AuthServiceStub) -> None:
    user, performance = await new_user(auth), str(uuid4())
    reserved = await auth.ReserveCredits(reserve(user, performance, 120))
    assert (reserved.reserved, reserved.settings.voice_language) == (120, "en")
    assert (await auth.ReserveCredits(reserve(user, performance.upper(), 120))).reserved == 120
    before = await meta(auth, user)
    assert (before.char_count, before.reserved_chars, before.monthly_limit) == (0, 120, 4000)
    turns = before.resets_at.ToDatetime()
    assert (turns.day, turns.hour, turns.minute) == (1, 0, 0)
    settle = pb.SettleCreditsRequest(
        user_id=user.user_id, performance_id=performance, characters=101, model="eleven_flash_v2_5"
    )
    for _ in range(2):
        settled = await auth.SettleCredits(settle)
        assert (settled.charged, settled.char_count, settled.monthly_limit) == (50, 50, 4000)
    after = await meta(auth, user)
    assert (after.char_count, after.reserved_chars) == (50, 0)


async def test_a_released_performance_costs_nothing_and_cannot_be_reserved_again(
    auth: AuthServiceStub,
) -> None:
    user, performance = await new_user(auth), str(uuid4())
    await auth.ReserveCredits(reserve(user, performance, 120))
    release = pb.ReleaseCreditsRequest(user_id=user.user_id, performance_id=performance)
    for _ in range(2):
        await auth.ReleaseCredits(release)
    never = str(uuid4())
    await auth.ReleaseCredits(pb.ReleaseCreditsRequest(user_id=user.user_id, performance_id=never))
    for ended in (performance, never):
        error = await refused(auth.ReserveCredits(reserve(user, ended, 1)))
        assert (error.error, error.http_status) == ("PERFORMANCE_RELEASED", 409)
    assert (await meta(auth, user)).reserved_chars == 0


async def test_a_hundred_performances_at_once_never_overshoot_the_limit(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    outcomes = await asyncio.gather(
        *(auth.ReserveCredits(reserve(user, str(uuid4()), 99)) for _ in range(100)), return_exceptions=True
    )
    errors = [api_error(outcome)[0] for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {(error.error, error.http_status) for error in errors if error} == {("CREDITS_EXHAUSTED", 402)}
    assert len(errors) == 60
    assert (await meta(auth, user)).reserved_chars == 40 * 99


async def test_credits_of_an_unknown_user_cannot_be_reserved(auth: AuthServiceStub) -> None:
    nobody = pb.RegisterResponse(user_id=str(uuid4()))
    assert (await refused(auth.ReserveCredits(reserve(nobody, str(uuid4()), 1)))).http_status == 404


async def test_settling_what_was_never_reserved_is_refused(auth: AuthServiceStub) -> None:
    user = await new_user(auth)
    settle = pb.SettleCreditsRequest(user_id=user.user_id, performance_id=str(uuid4()), characters=5)
    assert (await refused(auth.SettleCredits(settle))).error == "RESERVATION_NOT_FOUND"
    assert (await meta(auth, user)).char_count == 0


async def test_a_restart_keeps_users_keys_and_reservations(mongo_url: str, tmp_path: Path) -> None:
    variables = environment(mongo_url, tmp_path)
    performance = str(uuid4())
    async with serving(variables) as first:
        user = await new_user(first)
        session = await login(first, user)
        keys = await first.GetJwks(pb.GetJwksRequest())
        await first.ReserveCredits(reserve(user, performance, 120))
    async with serving(variables) as second:
        assert await second.GetJwks(pb.GetJwksRequest()) == keys
        assert await refresh(second, session.refresh_token)
        assert (await meta(second, user)).reserved_chars == 120


async def test_processes_that_start_together_share_one_signing_key(mongo_url: str, tmp_path: Path) -> None:
    variables = environment(mongo_url, tmp_path)
    async with serving(variables) as one, serving(variables) as other, serving(variables) as third:
        sets = [await stub.GetJwks(pb.GetJwksRequest()) for stub in (one, other, third)]
    assert sets[0] == sets[1] == sets[2]
    assert len(sets[0].keys) == 1


async def test_a_reservation_that_nobody_ends_comes_back_by_itself(mongo_url: str, tmp_path: Path) -> None:
    variables = environment(mongo_url, tmp_path, AUTH_RESERVATION_SECONDS="1", AUTH_SWEEP_SECONDS="0.1")
    async with serving(variables) as auth:
        user = await new_user(auth)
        await auth.ReserveCredits(reserve(user, str(uuid4()), 4000))
        async with asyncio.timeout(10):
            while (await meta(auth, user)).reserved_chars:
                continue
        assert (await auth.ReserveCredits(reserve(user, str(uuid4()), 4000))).reserved == 4000


async def command_line(variables: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    command = (sys.executable, "-m", "services.auth.cli", *arguments)
    python_path = os.pathsep.join(path for path in sys.path if path)
    run = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **variables, "PYTHONPATH": python_path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await run.communicate()
    return run.returncode or 0, said.decode(), complaint.decode()


async def test_an_operator_makes_codes_that_register(
    auth: AuthServiceStub, variables: dict[str, str]
) -> None:
    _, said, _ = await command_line(variables, "codes", "create", "--count", "3", "--json")
    codes = json.loads(said)["codes"]
    assert len(set(codes)) == 3
    await auth.Register(application(codes[0]))
    _, said, _ = await command_line(variables, "codes", "create", "--count", "2")
    assert len(said.split()) == 2


async def test_an_operators_token_is_that_of_an_administrator_without_a_password(
    auth: AuthServiceStub, variables: dict[str, str]
) -> None:
    made = [await command_line(variables, "token", "create", "--hours", "2", "--json") for _ in range(2)]
    first, second = (json.loads(said) for _, said, _ in made)
    assert first["user_id"] == second["user_id"]
    claims = jwt.decode(first["access_token"], options={"verify_signature": False})
    assert (claims["roles"], claims["exp"] - claims["iat"]) == ("user admin", 7200)
    assert list((await auth.GetUser(pb.GetUserRequest(user_id=claims["sub"]), metadata=ADMIN)).roles) == [
        "user",
        "admin",
    ]
    blank = auth.Login(pb.LoginRequest(username=first["username"], password="operator"))
    assert (await refused(blank)).error == "CREDENTIALS_INVALID"


async def test_an_operator_cannot_take_over_somebodys_account(
    auth: AuthServiceStub, variables: dict[str, str]
) -> None:
    user = await new_user(auth)
    code, said, complaint = await command_line(variables, "token", "create", "--username", user.username)
    assert (code, said) == (1, "")
    assert "choose another --username" in complaint
    assert "Traceback" not in complaint


async def test_an_operator_lists_the_newest_users(auth: AuthServiceStub, variables: dict[str, str]) -> None:
    user = await new_user(auth)
    _, said, _ = await command_line(variables, "users", "list", "--limit", "1", "--json")
    assert [each["user_id"] for each in json.loads(said)["users"]] == [user.user_id]
    _, table, _ = await command_line(variables, "users", "list")
    assert user.username in table


async def test_a_wrong_key_file_is_said_in_one_line(
    auth: AuthServiceStub, variables: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "other.key").write_text(os.urandom(32).hex())
    wrong = {**variables, "AUTH_KEY_FILE": str(tmp_path / "other.key")}
    code, _, complaint = await command_line(wrong, "users", "list")
    assert code == 1
    assert complaint.count("\n") == 1
    assert "AUTH_KEY_FILE" in complaint
