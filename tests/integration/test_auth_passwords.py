"""Passwords: how they are kept, which ones are refused, and what becomes of who guesses them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from time import perf_counter

import bcrypt
import grpc
import pytest
from prometheus_client import REGISTRY

from dev.ports import free_port
from services.kernel.statuses import api_error
from tests.integration.auth_clock_stage import (
    PASSWORD,
    Stage,
    application,
    failure,
    login,
    new_code,
    new_user,
    playing,
    refused,
    settings,
)

WRONG = ("CREDENTIALS_INVALID", 401)
SLOWED = ("LOGIN_SLOWED", 429)


@pytest.fixture(scope="module")
async def stage(
    mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with playing(settings(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))) as playing_stage:
        yield playing_stage


async def hash_of(stage: Stage, user_id: str) -> str:
    return str((await stage.kept("users", user_id))["password_hash"])


async def fail(stage: Stage, name: str, times: int, **headers: str) -> None:
    for _ in range(times):
        assert await refused(login(stage, name, "wrong password", **headers)) == WRONG


@pytest.mark.parametrize("password", ["password1", "P@$$w0rd!", "qwertyuiop", "1234567890", "ILoveYou22"])
async def test_a_password_that_everybody_tries_first_is_refused_and_costs_no_code(
    stage: Stage, password: str
) -> None:
    code = await new_code(stage)
    call = stage.auth.Register(application(code, password=password))
    assert await refused(call) == ("PASSWORD_BREACHED", 400)
    assert await stage.auth.Register(application(code))


async def test_ones_own_name_is_no_password(stage: Stage) -> None:
    code = await new_code(stage)
    for own in ("Marguerite.Duval", "MARGUERITE@example.org", "marguerite"):
        call = application(code, username="marguerite.duval", email="marguerite@example.org", password=own)
        assert await refused(stage.auth.Register(call)) == ("PASSWORD_TOO_WEAK", 400)


async def test_changed_parameters_take_effect_at_the_next_login(
    mongo_url: str, valkey_url: str, tmp_path: Path
) -> None:
    chosen = settings(mongo_url, valkey_url, tmp_path)
    async with playing(chosen) as stage:
        user = await new_user(stage)
        assert "$m=1024,t=1,p=1$" in await hash_of(stage, user.user_id)
    async with playing(chosen.model_copy(update={"argon2_time_cost": 2})) as stage:
        await refused(login(stage, user.username, "wrong password"))
        assert "$m=1024,t=1,p=1$" in await hash_of(stage, user.user_id)
        for _ in range(2):
            await login(stage, user.username)
            assert "$m=1024,t=2,p=1$" in await hash_of(stage, user.user_id)


@pytest.mark.parametrize("form", [b"2a", b"2b", b"2y"])
async def test_an_old_hash_is_good_for_one_login_which_replaces_it(stage: Stage, form: bytes) -> None:
    user = await new_user(stage)
    old = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).replace(b"$2b$", b"$" + form + b"$", 1)
    await stage.change("users", user.user_id, password_hash=old.decode())
    assert await refused(login(stage, user.username, "wrong password")) == WRONG
    assert await hash_of(stage, user.user_id) == old.decode()
    await login(stage, user.username)
    assert (await hash_of(stage, user.user_id)).startswith("$argon2id$")
    await login(stage, user.username)


async def test_a_long_password_of_old_is_what_bcrypt_took_it_for(stage: Stage) -> None:
    user, long = await new_user(stage), "lönger than " * 8
    old = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4))
    await stage.change("users", user.user_id, password_hash=old.decode())
    await login(stage, user.username, long)
    # From now on every character counts.
    assert await refused(login(stage, user.username, long + "!")) == WRONG
    await login(stage, user.username, long)


async def test_a_broken_old_hash_lets_nobody_in(stage: Stage) -> None:
    user = await new_user(stage)
    await stage.change("users", user.user_id, password_hash="$2b$04$short")
    assert await refused(login(stage, user.username)) == WRONG


async def test_who_keeps_failing_waits_twice_as_long_each_time_but_never_for_ever(stage: Stage) -> None:
    user = await new_user(stage)
    await fail(stage, user.username, 5)
    for wait in (1, 2, 4, 8, 16, 32, 60, 60):
        error, retry_after = await failure(login(stage, user.username))
        assert ((error.error, error.http_status), retry_after) == (SLOWED, wait)
        stage.clock.advance(seconds=wait - 0.001)
        assert await refused(login(stage, user.username)) == SLOWED
        stage.clock.advance(milliseconds=1)
        await fail(stage, user.username, 1)
    stage.clock.advance(seconds=60)
    await login(stage, user.username)
    # All is forgotten.
    await fail(stage, user.username, 5)


async def test_refused_attempts_do_not_prolong_the_wait(stage: Stage) -> None:
    user = await new_user(stage)
    await fail(stage, user.username, 5)
    for _ in range(20):
        assert await refused(login(stage, user.username)) == SLOWED
    stage.clock.advance(seconds=1)
    await login(stage, user.username)


async def test_failures_are_forgotten_after_an_hour(stage: Stage) -> None:
    user = await new_user(stage)
    await fail(stage, user.username, 4)
    stage.clock.advance(seconds=stage.settings.slowdown_lasts_seconds + 1)
    await fail(stage, user.username, 5)
    assert await refused(login(stage, user.username)) == SLOWED


async def test_a_name_that_does_not_exist_is_slowed_like_one_that_does(stage: Stage) -> None:
    user = await new_user(stage)
    for name in (user.username, "nobody-at-all"):
        await fail(stage, name, 3)
        await fail(stage, name.upper(), 2)
        assert (await failure(login(stage, name)))[0].error == "LOGIN_SLOWED"


async def test_a_burst_of_guesses_gets_no_more_than_a_few_answers(stage: Stage) -> None:
    user = await new_user(stage)
    outcomes = await asyncio.gather(
        *(login(stage, user.username, f"guess number {n}") for n in range(60)), return_exceptions=True
    )
    errors = [api_error(outcome)[0] for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(errors) == 60
    assert sum(error.error == "CREDENTIALS_INVALID" for error in errors if error) == 5


async def test_an_address_that_tries_many_names_is_slowed_and_others_are_not(stage: Stage) -> None:
    user = await new_user(stage)
    for number in range(stage.settings.slowdown_address_failures):
        await fail(stage, f"name-{number}", 1, x_client_address="2001:db8:1:2::1")
    # The whole network of the customer, not the one address.
    neighbour = login(stage, user.username, x_client_address="2001:db8:1:2:3:4:5:6")
    assert await refused(neighbour) == SLOWED
    assert await login(stage, user.username, x_client_address="2001:db8:1:3::1")


async def test_good_logins_do_not_use_up_an_address(stage: Stage) -> None:
    user, theatre = await new_user(stage), {"x_client_address": "198.51.100.7"}
    for _ in range(stage.settings.slowdown_address_failures + 5):
        await login(stage, user.username, **theatre)
    await fail(stage, user.username, 1, **theatre)


async def test_an_attempt_without_a_verdict_is_no_failure(
    mongo_url: str, valkey_url: str, tmp_path: Path
) -> None:
    chosen = settings(mongo_url, valkey_url, tmp_path, password_threads=1, password_queue=1)
    async with playing(chosen) as stage:
        user = await new_user(stage)
        for _ in range(4):
            outcomes = await asyncio.gather(
                *(login(stage, user.username) for _ in range(5)), return_exceptions=True
            )
            errors = [api_error(each)[0] for each in outcomes if isinstance(each, grpc.aio.AioRpcError)]
            assert {error.error for error in errors if error} <= {"SERVICE_BUSY"}
        await fail(stage, user.username, 5)


async def test_without_the_cache_logins_go_on_and_are_counted(mongo_url: str, tmp_path: Path) -> None:
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    async with playing(settings(mongo_url, nobody, tmp_path)) as stage:
        user = await new_user(stage)
        before = _uncounted()
        await fail(stage, user.username, 7)
        await login(stage, user.username)
        assert _uncounted() - before == 8


def _uncounted() -> float:
    return REGISTRY.get_sample_value("auth_sign_ins_uncounted_total") or 0


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    mongo_url: str, valkey_url: str, tmp_path: Path
) -> None:
    # At full cost: the time of the hash must be what is measured.
    full = {"argon2_memory_kib": 19_456, "argon2_time_cost": 2}
    async with playing(settings(mongo_url, valkey_url, tmp_path, **full)) as stage:
        known = [(await new_user(stage)).username for _ in range(8)]
        unknown = [f"nobody-{number}" for number in range(8)]
        took: dict[bool, list[float]] = {True: [], False: []}
        for pair in zip(known, unknown, strict=True):
            for exists, name in zip((True, False), pair, strict=True):
                began = perf_counter()
                await fail(stage, name, 1)
                took[exists].append(perf_counter() - began)
    # Without the comparison an unknown name would be answered in a tenth of the time.
    assert 0.5 < median(took[False]) / median(took[True]) < 2
