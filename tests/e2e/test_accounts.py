"""Accounts through the gateway: a server with an API key, an administrator at work."""

import csv
import io
from uuid import uuid4

import httpx

from dev.performer import Performer, accepted, request
from tests.e2e.conftest import SignUp


async def test_a_server_performs_with_a_key_and_no_more(
    voiced: Performer, stranger: httpx.AsyncClient
) -> None:
    wanted = {"name": "shop", "scopes": ["perform", "recordings"]}
    made = accepted(await voiced.http.post("/v1/api-keys", json=wanted))
    with_key = {"authorization": f"Bearer {made['key']}"}

    memo = accepted(
        await stranger.post("/v1/perform", json=request("Seven of Hearts", "cards"), headers=with_key)
    )
    recordings = accepted(await stranger.get("/v1/recordings", headers={"x-api-key": made["key"]}))
    assert memo["recording_id"] in {each["id"] for each in recordings["recordings"]}

    denied = await stranger.get("/v1/users/me/settings", headers=with_key)
    assert (denied.status_code, denied.json()["error"]) == (403, "SCOPE_MISSING")
    for path in ("/v1/api-keys", "/v1/auth/sessions", "/v1/admin/users"):
        assert (await stranger.get(path, headers=with_key)).status_code == 403

    (listed,) = accepted(await voiced.http.get("/v1/api-keys"))["keys"]
    assert made["key"].startswith(listed["prefix"])
    assert "key" not in listed
    assert listed["last_used_at"]
    accepted(await voiced.http.delete(f"/v1/api-keys/{made['id']}"))
    again = await stranger.post("/v1/auth/api-key-token", json={"key": made["key"]})
    assert (again.status_code, again.json()["error"]) == (401, "API_KEY_INVALID")


async def test_an_administrators_work_is_in_the_audit_log(admin: httpx.AsyncClient, sign_up: SignUp) -> None:
    performer = await sign_up()
    user = accepted(await performer.http.get("/v1/users/me"))
    (found,) = accepted(await admin.get("/v1/admin/users", params={"named": user["username"]}))["users"]
    assert found["user_id"] == user["user_id"]

    asked = f"shift-{uuid4().hex}"
    change = await admin.patch(
        f"/v1/admin/users/{user['user_id']}", json={"limit": 9}, headers={"x-request-id": asked}
    )
    assert accepted(change)["user"]["monthlyLimit"] == 9
    entries = accepted(await admin.get("/v1/admin/audit-log"))["entries"]
    (entry,) = [each for each in entries if each["request_id"] == asked]
    assert (entry["action"], entry["subject"]) == ("user_updated", user["user_id"])
    assert entry["detail"]["monthly_limit_after"] == "9"

    for method in ("PUT", "PATCH", "DELETE", "POST"):
        for path in ("/v1/admin/audit-log", f"/v1/admin/audit-log/{entry['id']}"):
            refusal = await admin.request(method, path, json={})
            assert (refusal.status_code, refusal.json()["error"]) == (404, "ROUTE_NOT_FOUND")
    kept = accepted(await admin.get("/v1/admin/audit-log", params={"page_size": 100}))["entries"]
    assert entry in kept


async def test_a_batch_of_codes_is_made_exported_and_revoked(admin: httpx.AsyncClient) -> None:
    made = accepted(await admin.post("/v1/admin/activation-codes", json={"count": 2}))["codes"]
    code = made[0]
    page = accepted(await admin.get("/v1/admin/activation-codes", params={"page_size": 10}))["codes"]
    batch = next(each["batch_id"] for each in page if each["code"] == code)
    exported = await admin.get(f"/v1/admin/activation-codes/batches/{batch}/codes.csv")
    assert exported.headers["content-type"].startswith("text/csv")
    assert {row["code"] for row in csv.DictReader(io.StringIO(exported.text))} == set(made)
    accepted(await admin.delete(f"/v1/admin/activation-codes/{code}"))
    asked = await admin.post("/v1/auth/verify-activation-code", json={"code": code})
    assert accepted(asked) == {"valid": False}


async def test_what_is_for_administrators_is_for_nobody_else(
    performer: Performer, stranger: httpx.AsyncClient
) -> None:
    for path in ("/v1/admin/users", "/v1/admin/audit-log", "/v1/admin/activation-codes"):
        assert (await stranger.get(path)).status_code == 401
        assert (await performer.http.get(path)).status_code == 403
