"""What the contract says may be null is null in the answer, not missing."""

from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from google.protobuf import descriptor_pb2

from newvisions.edge.v1 import edge_pb2
from tests.integration.gateway_envoy import ROOT, gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer

NOT_SET = {"voice_note_name": None, "voice_note_date": None}


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with Stage().playing() as stage, gateway(stage) as client:
        await until_ready(client)
        client.headers.update(bearer())
        yield client


@pytest.mark.parametrize(
    "path", ["/v1/users/me/settings", "/api/users/me/settings", "/user/settings?user_id=me"]
)
async def test_settings_that_are_not_set_are_null(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.headers["content-length"] == str(len(answer.content))
    found = answer.json()
    assert {name: found[name] for name in NOT_SET} == NOT_SET
    assert found["voice_language"] == "en"
    assert len(found) == 9


async def test_a_voice_that_is_not_there_has_no_id_and_no_moment(http: httpx.AsyncClient) -> None:
    found = (await http.get("/api/users/me/voice/meta")).json()
    assert found == {
        "hasSample": False,
        "hasClone": False,
        "voiceCloneId": None,
        "inPool": False,
        "state": "none",
        "updatedAt": None,
    }


@pytest.mark.parametrize("name", ["Morning", 'a "voice_note_date": 1', "}{", "ñ é"])
async def test_what_is_set_stays_as_it_is(http: httpx.AsyncClient, name: str) -> None:
    found = (await http.get(f"/v1/users/{quote(name, safe='')}/settings")).json()
    assert (found["voice_note_name"], found["voice_note_date"]) == (name, None)


async def test_head_tells_the_length_of_the_answer_with_its_nulls(http: httpx.AsyncClient) -> None:
    whole = await http.get("/v1/users/me/settings")
    told = await http.head("/v1/users/me/settings")
    assert told.headers["content-length"] == str(len(whole.content))


def test_every_name_that_may_be_null_is_one_of_the_answers_own() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString((ROOT / "gen/edge.pb").read_bytes()).file
    answers = {f".{file.package}.{each.name}": each for file in files for each in file.message_type}
    methods = [method for file in files for service in file.service for method in service.method]
    named = 0
    for method in methods:
        for name in method.options.Extensions[edge_pb2.route].null_when_unset:
            (field,) = [each for each in answers[method.output_type].field if each.json_name == name]
            assert field.proto3_optional or field.type == field.TYPE_MESSAGE
            named += 1
    assert named >= 10
