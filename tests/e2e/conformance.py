"""Asks the gateway what its OpenAPI document allows, and some of what it does not, by seed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]

# Left out, because the transcoder in the gateway decides otherwise, and on purpose:
# - unsupported_method: a path that exists answers another method with 404, never 405.
# - negative_data_rejection: a missing body counts as an empty one, unknown fields of JSON are ignored, as
#   protobuf does for clients of tomorrow; what is checked is checked by the services.
# - positive_data_acceptance: that a body fits its schema does not mean that there is such a recording.
# - ignored_auth: a test of its own asks every route as nobody.
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# One shape on every failure; nothing of the machinery in it.
ERROR_FIELDS: Final = {"error", "message", "action", "detail", "request_id"}
_PRIVATE: Final = ("Traceback", "pymongo", "grpc.", "Exception", "upstream connect")
_SECONDS: Final = 30


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    schema = schemathesis.openapi.from_dict(dict(document))
    for found in schema.get_all_operations():
        yield found.ok()  # type: ignore[union-attr]


def asked(
    operation: Operation,
    base_url: str,
    session: requests.Session,
    *,
    headers: Mapping[str, str],
    cases: int,
    chance: int,
    path_parameters: Mapping[str, str] | None = None,
    modes: tuple[GenerationMode, ...] = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE),
    judge: Callable[[AnyCase, requests.Response], None],
) -> int:
    """How many answers were judged."""
    judged = 0

    def ask(case: AnyCase) -> None:
        nonlocal judged
        if path_parameters:
            case.path_parameters.update(path_parameters)
        answer = session.request(
            **{**case.as_transport_kwargs(base_url=base_url, headers=dict(headers)), "timeout": _SECONDS}
        )
        judge(case, answer)
        judged += 1

    for mode in modes:
        run = settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            seed(chance)(run(given(strategy)(ask)))()
        except Unsatisfiable:
            # An operation without parameters cannot be asked wrongly.
            continue
    return judged


def conforms(case: AnyCase, answer: requests.Response) -> None:
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code >= 400:
        assert_is_an_error(answer)


def assert_is_an_error(answer: requests.Response) -> None:
    assert answer.headers["content-type"].startswith("application/json"), answer.text
    said = answer.json()
    assert set(said) == ERROR_FIELDS, said
    assert said["detail"] == said["message"]
    assert not [word for word in _PRIVATE if word in answer.text], said
