"""Every operation of /v1/openapi.json, asked by seed as a user, an administrator, nobody and somebody else.

The paths of earlier clients, which that document leaves out, are asked as somebody else; what is for
operators and administrators, as those who are neither.

`./newvisions test tests/e2e/test_conformance.py --cases 100 --cases-seed 5` asks more.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import requests
from schemathesis import GenerationMode

from dev.performer import Performer, accepted
from dev.stack import Stack
from gateway.openapi import openapi
from gateway.routes import Route, read_routes
from newvisions.edge.v1 import edge_pb2
from tests import samples
from tests.e2e import conformance
from tests.e2e.conftest import GENEROUS
from tests.integration.gateway_envoy import ROOT

pytestmark = pytest.mark.slow
DOCUMENT = openapi(ROOT / "gen/edge.pb")
OPERATIONS = {operation.label: operation for operation in conformance.operations(DOCUMENT)}
USERS_OWN = [label for label in OPERATIONS if "{user_id}" in label and "/admin/" not in label]
ROUTES = {f"{route.method} {route.template}": route for route in read_routes(ROOT / "gen/edge.pb")}
# Who asks below /user names nobody in the path, and may try to elsewhere.
OF_EARLIER_CLIENTS = [
    label for label, route in ROUTES.items() if route.template.startswith(("/api/users/", "/user/"))
]
REFUSALS: dict[int, str] = {
    edge_pb2.ACCESS_ADMIN: "ADMIN_REQUIRED",
    edge_pb2.ACCESS_OPERATOR: "OPERATOR_REQUIRED",
}
RESTRICTED = [label for label, route in ROUTES.items() if route.access in REFUSALS]


@dataclass(frozen=True, slots=True)
class Place:
    """A stack of its own: guessing passwords makes signing in slow for everybody at this address."""

    url: str
    user: dict[str, str]
    user_id: str
    admin: dict[str, str]
    operator: dict[str, str]
    other: dict[str, str]


@pytest.fixture(scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    data = tmp_path_factory.mktemp("conformance")
    settings = {"CONTENT_MODELS": "offline"}
    async with Stack(data, engine="tone", limits=GENEROUS, environment=settings) as stack:
        codes, token = await asyncio.gather(stack.activation_codes(3), stack.admin_token())
        (first, second, third), admin = codes, {"authorization": f"Bearer {token}"}
        async with (
            Performer.signed_up(stack.url, first) as user,
            Performer.signed_up(stack.url, second) as other,
            Performer.signed_up(stack.url, third) as operator,
        ):
            accepted(await user.upload(samples.speech()))
            roles, path = {"roles": ["user", "operator"]}, f"/v1/admin/users/{operator.user_id}"
            accepted(await operator.http.patch(path, json=roles, headers=admin))
            # A token tells the roles of when it was made.
            await Performer.logged_in(operator.http, operator.username)
            yield Place(
                stack.url,
                {"authorization": user.http.headers["authorization"]},
                user.user_id,
                admin,
                {"authorization": operator.http.headers["authorization"]},
                {"authorization": other.http.headers["authorization"]},
            )


@pytest.fixture(scope="module")
def session():
    with requests.Session() as found:
        yield found


@pytest.fixture(scope="module")
def cases(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"cases": request.config.getoption("cases"), "chance": request.config.getoption("cases_seed")}


@pytest.mark.parametrize("label", OPERATIONS)
async def test_an_operation_answers_as_it_is_described(
    place: Place, session: requests.Session, cases: dict[str, Any], label: str
) -> None:
    caller = place.admin if "/admin/" in label else place.user
    judged = await asyncio.to_thread(
        conformance.asked,
        OPERATIONS[label],
        place.url,
        session,
        headers=caller,
        judge=conformance.conforms,
        **cases,
    )
    assert judged


@pytest.mark.parametrize(
    "label", [label for label in OPERATIONS if OPERATIONS[label].definition.raw.get("security")]
)
async def test_nobody_is_let_in_whatever_they_send(
    place: Place, session: requests.Session, label: str
) -> None:
    def refused(_: conformance.AnyCase, answer: requests.Response) -> None:
        # What is malformed beyond recognition is refused before anybody asks who sent it.
        assert answer.status_code in {400, 401, 404, 413}, answer.text
        assert answer.status_code == 401 or answer.json()["error"] in {"INVALID_REQUEST", "ROUTE_NOT_FOUND"}
        conformance.assert_is_an_error(answer)

    asked: dict[str, Any] = {"headers": {}, "cases": 1, "chance": 1, "judge": refused}
    assert await asyncio.to_thread(
        conformance.asked, OPERATIONS[label], place.url, session, modes=(GenerationMode.POSITIVE,), **asked
    )


@pytest.mark.parametrize("label", USERS_OWN)
async def test_what_is_somebody_elses_does_not_exist(
    place: Place, session: requests.Session, label: str
) -> None:
    def not_there(_: conformance.AnyCase, answer: requests.Response) -> None:
        conformance.assert_is_an_error(answer)
        assert answer.status_code == 404, answer.text

    asked: dict[str, Any] = {"headers": place.other, "cases": 1, "chance": 1, "judge": not_there}
    assert await asyncio.to_thread(
        conformance.asked,
        OPERATIONS[label],
        place.url,
        session,
        path_parameters={"user_id": place.user_id},
        modes=(GenerationMode.POSITIVE,),
        **asked,
    )


async def answer_to(
    session: requests.Session, place: Place, route: Route, headers: dict[str, str], **named: str
) -> requests.Response:
    """Variables of the path have the values named for them; what is no variable goes into the query."""
    variables = re.findall(r"{(\w+)}", route.template)
    path = route.template.format_map({name: named.get(name, "x") for name in variables})
    # Enough of a recording to be looked at; where none is wanted, nobody minds.
    sent: dict[str, Any] = {} if route.reads_only else {"json": {"audio_base64": "AAAA"}}
    sent["params"] = {name: value for name, value in named.items() if name not in variables}
    return await asyncio.to_thread(
        session.request, route.method, place.url + path, headers=headers, timeout=30, **sent
    )


@pytest.mark.parametrize("label", OF_EARLIER_CLIENTS)
async def test_what_is_somebody_elses_does_not_exist_for_earlier_clients_either(
    place: Place, session: requests.Session, label: str
) -> None:
    asked = partial(answer_to, session, place, ROUTES[label], user_id=place.user_id)
    denied = await asked(place.other)
    conformance.assert_is_an_error(denied)
    assert (denied.status_code, denied.json()["error"]) == (404, "USER_NOT_FOUND")
    # It is there for whose it is, though four characters are no recording.
    assert (await asked(place.user)).status_code in {200, 415}


@pytest.mark.parametrize("label", RESTRICTED)
async def test_who_has_no_role_for_it_is_denied(place: Place, session: requests.Session, label: str) -> None:
    asked = partial(answer_to, session, place, ROUTES[label])
    access = ROUTES[label].access
    by_user, by_operator = await asked(place.user), await asked(place.operator)
    conformance.assert_is_an_error(by_user)
    assert (by_user.status_code, by_user.json()["error"]) == (403, REFUSALS[access])
    assert (by_operator.status_code == 403) is (access == edge_pb2.ACCESS_ADMIN)
