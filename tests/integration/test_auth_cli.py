"""The operator's command line: tables for people, JSON for scripts, an audit entry for each change."""

import csv
import io
import json
import os
import pwd
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from newvisions.auth.v1 import admin_service_pb2 as admin_pb
from newvisions.auth.v1 import api_key_service_pb2 as key_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.cli.__main__ import run
from tests.integration.auth_channel import ADMIN, PASSWORD, Auth, environment, new_user, serving, signed_in
from tests.integration.test_auth_service import refused

ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"


@pytest.fixture(scope="module")
def variables(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(mongo_url, valkey_url, tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
async def stage(variables: dict[str, str]) -> AsyncIterator[Auth]:
    async with serving(variables) as auth:
        yield auth


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands in this process; the real one is started by other tests of the service."""

    screen: pytest.CaptureFixture[str]

    async def says(self, *arguments: str) -> str:
        self.screen.readouterr()
        with capture_logs():
            await run(arguments)
        return self.screen.readouterr().out

    async def tells(self, *arguments: str) -> Any:
        (line,) = (await self.says(*arguments, "--json")).splitlines()
        return json.loads(line)

    async def complains(self, *arguments: str) -> str:
        self.screen.readouterr()
        with capture_logs(), pytest.raises(SystemExit) as end:
            await run(arguments)
        seen = self.screen.readouterr()
        assert seen.out == ""
        complaint = seen.err if end.value.code == 2 else str(end.value.code)
        assert "newvisions admin" in complaint
        return complaint


@pytest.fixture
def cli(stage: Auth, capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


async def last_entry(stage: Auth) -> Any:
    request = admin_pb.ListAuditEntriesRequest(page_size=1)
    return (await stage.admin.ListAuditEntries(request, metadata=ADMIN)).entries[0]


async def test_codes_are_made_listed_exported_and_revoked(stage: Auth, cli: Terminal) -> None:
    made = await cli.tells("codes", "create", "--count", "3")
    assert len(made["codes"]) == 3
    entry = await last_entry(stage)
    assert (entry.actor, entry.action, entry.subject) == (ME, "codes_created", made["batch_id"])

    code = made["codes"][0]
    await cli.says("codes", "revoke", code)
    entry = await last_entry(stage)
    assert (entry.actor, entry.action, entry.subject) == (ME, "code_revoked", code)
    asked = pb.VerifyActivationCodeRequest(code=code)
    assert not (await stage.auth.VerifyActivationCode(asked)).valid

    table = await cli.says("codes", "list", "--limit", "3")
    heading, *lines = table.splitlines()
    assert heading.split()[:2] == ["code", "state"]
    assert {line.split()[0]: line.split()[1] for line in lines}[code] == "revoked"

    exported = await cli.says("codes", "list", "--batch", made["batch_id"], "--csv")
    rows = {row["code"]: row["state"] for row in csv.DictReader(io.StringIO(exported))}
    assert rows == {**dict.fromkeys(made["codes"], "unused"), code: "revoked"}
    assert "ACTIVATION" not in await cli.complains("codes", "revoke", "nothing")


async def test_codes_can_be_made_as_csv(stage: Auth, cli: Terminal) -> None:
    rows = list(csv.DictReader(io.StringIO(await cli.says("codes", "create", "--count", "2", "--csv"))))
    assert [row["state"] for row in rows] == ["unused", "unused"]
    for row in rows:
        asked = pb.VerifyActivationCodeRequest(code=row["code"])
        assert (await stage.auth.VerifyActivationCode(asked)).valid


async def test_users_are_shown_disabled_and_enabled(stage: Auth, cli: Terminal) -> None:
    user = await new_user(stage)
    shown = await cli.tells("users", "show", user.email)
    assert (shown["user_id"], shown["disabled"]) == (user.user_id, False)
    assert user.username in await cli.says("users", "list")

    login = pb.LoginRequest(username=user.username, password=PASSWORD)
    assert (await cli.tells("users", "disable", user.username))["disabled"] is True
    entry = await last_entry(stage)
    assert (entry.actor, entry.action, entry.subject) == (ME, "user_updated", user.user_id)
    assert dict(entry.detail) == {"disabled_before": "false", "disabled_after": "true"}
    assert (await refused(stage.auth.Login(login))).error == "CREDENTIALS_INVALID"
    await cli.says("users", "enable", user.user_id)
    assert (await stage.auth.Login(login)).access_token
    assert "no such user" in await cli.complains("users", "show", "nobody")


async def test_a_user_gets_a_limit_and_the_plans_again(stage: Auth, cli: Terminal) -> None:
    user = await new_user(stage)
    assert (await cli.tells("users", "limit", user.username, "7"))["monthly_limit"] == 7
    assert (await cli.tells("users", "limit", user.username, "plan"))["monthly_limit"] == 4000
    entry = await last_entry(stage)
    assert dict(entry.detail) == {"monthly_limit_before": "7", "monthly_limit_after": ""}
    assert "limit" in await cli.complains("users", "limit", user.username, "-1")


async def test_roles_are_granted_and_revoked(stage: Auth, cli: Terminal) -> None:
    user = await new_user(stage)
    assert (await cli.tells("roles", "grant", user.username, "admin"))["roles"] == "user admin"
    assert (await cli.tells("roles", "grant", user.username, "operator"))["roles"] == ("user operator admin")
    assert "last administrator" in await cli.complains("roles", "revoke", user.username, "admin")
    await cli.says("roles", "grant", (await new_user(stage)).username, "admin")
    assert (await cli.tells("roles", "revoke", user.username, "admin"))["roles"] == "user operator"
    entry = await last_entry(stage)
    assert (entry.actor, entry.detail["roles_after"]) == (ME, "user operator")


async def test_credits_are_shown_and_adjusted_with_a_reason(stage: Auth, cli: Terminal) -> None:
    user = await new_user(stage)
    before = await cli.tells("credits", "show", user.username)
    assert (before["char_count"], before["monthly_limit"]) == (0, 4000)
    adjust = ("credits", "adjust", user.username, "250", "--reason", "a show was cancelled")
    once = ("--id", str(uuid4()))
    for _ in range(2):
        assert (await cli.tells(*adjust, *once))["monthly_limit"] == 4250
    assert (await cli.tells("credits", "adjust", user.username, "-50", "--reason", "too much"))[
        "monthly_limit"
    ] == 4200
    entry = await last_entry(stage)
    assert (entry.actor, entry.action, entry.detail["amount"]) == (ME, "credits_adjusted", "-50")
    assert "--reason" in await cli.complains("credits", "adjust", user.username, "5")


async def test_api_keys_are_listed_without_the_key_and_deleted(stage: Auth, cli: Terminal) -> None:
    user = await new_user(stage)
    asked = key_pb.CreateApiKeyRequest(name="shop", scopes=["perform"])
    made = await stage.api_keys.CreateApiKey(asked, metadata=signed_in(user.user_id))
    (key,) = (await cli.tells("api-keys", "list", user.username))["api_keys"]
    assert (key["id"], key["name"], key["scopes"]) == (made.id, "shop", ["perform"])
    assert made.key not in await cli.says("api-keys", "list", user.username)
    await cli.says("api-keys", "delete", made.id)
    entry = await last_entry(stage)
    assert (entry.actor, entry.action, entry.subject) == (ME, "api_key_deleted", user.user_id)
    exchange = key_pb.ExchangeApiKeyRequest(key=made.key)
    assert (await refused(stage.api_keys.ExchangeApiKey(exchange))).error == "API_KEY_INVALID"
    assert "no such API key" in await cli.complains("api-keys", "delete", made.id)


async def test_the_audit_log_is_read_newest_first(stage: Auth, cli: Terminal) -> None:
    user = await new_user(stage)
    await cli.says("users", "disable", user.username)
    entries = (await cli.tells("audit", "list", "--limit", "2"))["entries"]
    assert len(entries) == 2
    assert (entries[0]["actor"], entries[0]["subject"]) == (ME, user.user_id)
    table = await cli.says("audit", "list", "--limit", "1")
    assert "disabled_after=true" in table
    assert table.splitlines()[0].split() == ["at", "actor", "action", "subject", "detail", "request_id"]


async def test_a_token_made_here_leaves_an_entry(stage: Auth, cli: Terminal) -> None:
    assert (await cli.tells("token", "create", "--username", "night-shift"))["access_token"]
    entry = await last_entry(stage)
    assert (entry.actor, entry.action, entry.subject) == (ME, "token_created", "night-shift")


async def test_every_group_explains_itself(cli: Terminal) -> None:
    with pytest.raises(SystemExit) as end:
        await run(["--help"])
    assert end.value.code == 0
    overview = cli.screen.readouterr().out
    for group in ("codes", "token", "users", "roles", "credits", "api-keys", "keys", "audit"):
        assert group in overview


async def test_missing_settings_are_named(cli: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTH_MONGO_URL")
    complaint = await cli.complains("users", "list")
    assert complaint == "newvisions admin: setting AUTH_MONGO_URL: is not set, and has no default"
