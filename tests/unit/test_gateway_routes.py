"""The route table that Envoy gets is the one that the contracts promise."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway.render import GatewaySettings, load_settings, render
from gateway.routes import UnknownTemplate, path_regex, read_routes
from gateway.settings import SERVICES
from gateway.table import markdown
from newvisions.edge.v1 import edge_pb2

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "gen/edge.pb"
SETTINGS = GatewaySettings(
    upstreams=dict.fromkeys(SERVICES, "127.0.0.1:50051"),
    admin_socket="/tmp/newvisions/admin",
    descriptors=str(CONTRACTS),
)


def methods() -> Iterator[tuple[str, descriptor_pb2.MethodDescriptorProto]]:
    files = descriptor_pb2.FileDescriptorSet.FromString(CONTRACTS.read_bytes())
    for file in files.file:
        for service in file.service:
            for method in service.method:
                yield f"/{file.package}.{service.name}/{method.name}", method


def rules() -> list[tuple[str, str, descriptor_pb2.MethodDescriptorProto]]:
    """Each HTTP method and path of the contracts, with a value for each variable."""
    found = []
    for _, method in methods():
        rule = method.options.Extensions[annotations_pb2.http]
        for binding in (rule, *rule.additional_bindings):
            verb = binding.WhichOneof("pattern")
            if verb:
                path = re.sub(r"\{[^}]+\}", "a-1.b_2", getattr(binding, verb))
                found.append((verb.upper(), path, method))
    return found


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(render(SETTINGS))
    return parsed


@pytest.fixture(scope="module")
def table(config: dict[str, Any]) -> list[dict[str, Any]]:
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    routes: list[dict[str, Any]] = manager["route_config"]["virtual_hosts"][0]["routes"]
    return routes


def _says(wanted: dict[str, Any], said: str) -> bool:
    if "safe_regex" in wanted:
        return re.fullmatch(wanted["safe_regex"]["regex"], said) is not None
    return bool(wanted["exact"] == said)


def matches(route: dict[str, Any], method: str, path: str) -> bool:
    """What Envoy does with a route's matcher."""
    match = route["match"]
    said = [header["string_match"] for header in match.get("headers", ()) if header["name"] == ":method"]
    if not all(_says(wanted, method) for wanted in said):
        return False
    if "safe_regex" in match:
        return re.fullmatch(match["safe_regex"]["regex"], path) is not None
    return match.get("path") == path or ("prefix" in match and path.startswith(match["prefix"]))


def refused(route: dict[str, Any]) -> bool:
    return bool(route.get("route", {}).get("cluster") == "nowhere")


@pytest.mark.parametrize(("method", "path", "described"), rules(), ids=lambda value: str(value)[:60])
def test_each_rule_of_the_contracts_has_exactly_one_route(
    method: str, path: str, described: descriptor_pb2.MethodDescriptorProto, table: list[dict[str, Any]]
) -> None:
    fitting = [route for route in table if not refused(route) and matches(route, method, path)]
    # A path that is written out goes before a variable in its place: /v1/ambient/fan.
    fitting = [route for route in fitting if route["match"].get("path") == path] or fitting
    assert len(fitting) == 1
    first = next(route for route in table if matches(route, method, path))
    assert first is fitting[0]
    policy = described.options.Extensions[edge_pb2.route]
    own = first.get("typed_per_filter_config", {})
    assert ("envoy.filters.http.jwt_authn" in own) == (policy.access != edge_pb2.ACCESS_OPEN)
    milliseconds = policy.deadline.ToMilliseconds() or 5000
    assert first["request_headers_to_add"][0]["header"]["value"] == f"{milliseconds}m"
    buffer = own.get("envoy.filters.http.buffer", {"buffer": {"max_request_bytes": 65536}})
    assert buffer["buffer"]["max_request_bytes"] == (policy.max_body_kib or 64) * 1024


def test_no_call_between_services_has_a_route(table: list[dict[str, Any]]) -> None:
    for path, _ in methods():
        assert refused(next(route for route in table if matches(route, "POST", path)))


def test_a_known_path_tells_which_methods_it_answers_to(table: list[dict[str, Any]]) -> None:
    route = next(route for route in table if matches(route, "TRACE", "/v1/recordings/7"))
    sentence = route["metadata"]["filter_metadata"]["newvisions"]["miss"]
    assert sentence == "/v1/recordings/{recording_id} answers to DELETE, GET and PATCH only."


def test_the_same_settings_give_the_same_text() -> None:
    assert render(SETTINGS) == render(SETTINGS)


def test_the_admin_interface_listens_on_a_private_socket_only(config: dict[str, Any]) -> None:
    assert config["admin"]["address"] == {"pipe": {"path": "/tmp/newvisions/admin", "mode": 0o600}}


def test_the_table_in_the_readme_is_that_of_the_contracts() -> None:
    assert markdown(read_routes(CONTRACTS)) in (ROOT / "gateway/README.md").read_text()


@given(st.text(st.characters(exclude_characters="/\n"), min_size=1))
def test_a_variable_is_one_whole_segment(value: str) -> None:
    regex = re.compile(path_regex("/v1/users/{user_id}/voice:upload"))
    assert regex.fullmatch(f"/v1/users/{value}/voice:upload")
    assert not regex.fullmatch(f"/v1/users/{value}/x/voice:upload")
    assert not regex.fullmatch(f"/v1/users/{value}/voice.upload")


@pytest.mark.parametrize("template", ["/v1/{name=**}", "/v1/{a.b}", "/v1/{}"])
def test_a_template_beyond_the_matcher_is_refused(template: str) -> None:
    with pytest.raises(UnknownTemplate):
        path_regex(template)


def changed(tmp_path: Path, name: str, change: Any) -> Path:
    """The contracts with one method changed."""
    files = descriptor_pb2.FileDescriptorSet.FromString(CONTRACTS.read_bytes())
    for file in files.file:
        for service in file.service:
            for method in service.method:
                if method.name == name:
                    change(method.options)
    target = tmp_path / "edge.pb"
    target.write_bytes(files.SerializeToString())
    return target


def test_a_route_that_does_not_say_who_may_call_it_is_refused(tmp_path: Path) -> None:
    broken = changed(tmp_path, "Login", lambda options: options.ClearExtension(edge_pb2.route))
    with pytest.raises(ValueError, match="who may call it"):
        read_routes(broken)


def test_two_calls_on_one_route_are_refused(tmp_path: Path) -> None:
    def take_health(options: Any) -> None:
        options.Extensions[annotations_pb2.http].get = "/v1/health"

    with pytest.raises(ValueError, match="belongs to"):
        read_routes(changed(tmp_path, "ListRecordings", take_health))


def test_settings_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    given = {"upstreams": dict(SETTINGS.upstreams), "admin_socket": "/tmp/a", "limits": {"costly": 7}}
    file.write_text(json.dumps({**given, "cors_origins": ["https://app.example"]}))
    settings = load_settings(file)
    assert settings.limits is not None
    assert (settings.limits.costly, settings.limits.reads) == (7, 300)
    assert settings.cors_origins == ("https://app.example",)


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"upstreams": {}, "admin_socket": "/tmp/a", "cors_origin": []}')
    with pytest.raises(ValueError, match="cors_origin"):
        load_settings(file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upstreams": {"auth": "a:1"}}, "no upstream for content, perform, synthesis, voice"),
        ({"admin_socket": "/tmp/" + "a" * 120}, "socket path too long"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GatewaySettings(**{"upstreams": SETTINGS.upstreams, "admin_socket": "/tmp/a", **changes})


def test_an_upstream_without_a_port_is_refused() -> None:
    upstreams = {**SETTINGS.upstreams, "voice": "voice"}
    settings = GatewaySettings(upstreams=upstreams, admin_socket="/tmp/a", descriptors=str(CONTRACTS))
    with pytest.raises(ValueError, match="the address of voice"):
        render(settings)
