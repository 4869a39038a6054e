"""The API as an OpenAPI 3.1 document, from the contracts: paths, fields, rules, comments.

`python -m gateway.openapi` prints it; the gateway serves it at /v1/openapi.json, with a page at /docs.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from gateway.openapi.comments import Comments
from gateway.openapi.schemas import Schemas
from newvisions.edge.v1 import edge_pb2

VERSION: Final = "1"
_JSON: Final = "application/json"
# What a method with HttpBody in its answer sends; most send sound.
_SOUND: Final = {"audio/mpeg": {"schema": {"type": "string", "format": "binary"}}}
_TABLE: Final = {"text/csv": {"schema": {"type": "string"}}}
_HTTP_BODY: Final = ".google.api.HttpBody"
_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_ABOUT: Final = (
    "A performer's tool: a spectator's secret becomes an old voice memo in the performer's own voice.\n\n"
    "Sign in with `Authorization: Bearer` (an access token, or an API key), or with the cookie that login"
    " sets. Every failure is the same object; `error` is a stable code, `action` says what to do next."
    " Times are RFC 3339 in UTC."
)


def openapi(descriptors: Path) -> dict[str, Any]:
    """The same contracts give the same document. Only canonical paths: those of /v1."""
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes()).file
    schemas = Schemas(files)
    paths: dict[str, dict[str, Any]] = {}
    for file in files:
        comments = Comments(file)
        for service in file.service:
            for method in service.method:
                for binding in _bindings(method):
                    path, verb = _place(binding)
                    operation = _operation(method, binding, schemas, comments.of_method(service, method))
                    paths.setdefault(path, {})[verb] = {**operation, "tags": [_tag(file)]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "New Visions", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {**schemas.used, "Error": schemas.error},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "newvisions_session"},
            },
        },
    }


def _bindings(method: descriptor_pb2.MethodDescriptorProto) -> Iterator[http_pb2.HttpRule]:
    rule = method.options.Extensions[annotations_pb2.http]
    for binding in (rule, *rule.additional_bindings):
        if binding.WhichOneof("pattern") and _place(binding)[0].startswith("/v1/"):
            yield binding


def _place(binding: http_pb2.HttpRule) -> tuple[str, str]:
    verb = str(binding.WhichOneof("pattern"))
    return getattr(binding, verb), verb


def _tag(file: descriptor_pb2.FileDescriptorProto) -> str:
    return str(file.package.split(".")[1])


def _operation(
    method: descriptor_pb2.MethodDescriptorProto, binding: http_pb2.HttpRule, schemas: Schemas, comment: str
) -> dict[str, Any]:
    policy = method.options.Extensions[edge_pb2.route]
    in_path = _VARIABLE.findall(_place(binding)[0])
    summary, _, rest = comment.partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": method.name + _suffix(method, binding),
        "summary": " ".join(summary.split()),
        "parameters": [*_path(schemas, method.input_type, in_path)],
        "responses": {"200": _answer(method, binding, schemas), "default": _failure()},
    }
    if rest.strip():
        operation["description"] = rest.strip()
    if policy.access != edge_pb2.ACCESS_OPEN:
        operation["security"] = [{"bearer": []}, {"cookie": []}]
    if binding.body:
        operation["requestBody"] = _body(method, binding, schemas, in_path)
    if binding.body != "*":
        skipped = {*in_path, binding.body}
        operation["parameters"] += _query(schemas, method.input_type, skipped)
    if policy.replayed or method.name in _REPLAYED_BY_THEMSELVES:
        operation["parameters"].append(_IDEMPOTENCY_KEY)
    return operation


# They join twins as well, and say nothing of it in their policy.
_REPLAYED_BY_THEMSELVES: Final = {"Perform", "StreamPerform", "GenerateAudio", "CreateSpeech"}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body get the first success again for 24 hours; failures give it back.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}


def _suffix(method: descriptor_pb2.MethodDescriptorProto, binding: http_pb2.HttpRule) -> str:
    """A method with several paths has an operation for each."""
    own = [_place(found)[0] for found in _bindings(method)]
    number = own.index(_place(binding)[0])
    return f"_{number + 1}" if number else ""


def _path(schemas: Schemas, message: str, names: list[str]) -> Iterator[dict[str, Any]]:
    for name in names:
        field = schemas.field(message, name)
        yield {"name": name, "in": "path", "required": True, **schemas.described(message, field)}


def _query(schemas: Schemas, message: str, skipped: set[str]) -> Iterator[dict[str, Any]]:
    for field in schemas.fields(message):
        if field.name not in skipped:
            yield {
                "name": field.json_name,
                "in": "query",
                "required": schemas.is_required(field),
                **schemas.described(message, field),
            }


def _body(
    method: descriptor_pb2.MethodDescriptorProto,
    binding: http_pb2.HttpRule,
    schemas: Schemas,
    in_path: list[str],
) -> dict[str, Any]:
    if binding.body == "*":
        schema = schemas.part(method.input_type, without=set(in_path))
        return {"required": bool(schema.get("required")), "content": {_JSON: {"schema": schema}}}
    field = schemas.field(method.input_type, binding.body)
    if field.type_name == _HTTP_BODY:
        raw = {"schema": {"type": "string", "format": "binary"}}
        form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        content = {"audio/*": raw, "application/octet-stream": raw, "multipart/form-data": {"schema": form}}
        return {"required": True, "content": content}
    return {"required": True, "content": {_JSON: {"schema": schemas.of_field(field)}}}


def _answer(
    method: descriptor_pb2.MethodDescriptorProto, binding: http_pb2.HttpRule, schemas: Schemas
) -> dict[str, Any]:
    if binding.response_body:
        field = schemas.field(method.output_type, binding.response_body)
        if field.type_name == _HTTP_BODY:
            if _place(binding)[0].endswith(".csv"):
                return {"description": "A table.", "content": _TABLE}
            return {
                "description": "As it is made." if method.server_streaming else "The sound.",
                "content": _SOUND,
            }
        return {"description": "Done.", "content": {_JSON: {"schema": schemas.of_field(field)}}}
    return {"description": "Done.", "content": {_JSON: {"schema": schemas.ref(method.output_type)}}}


def _failure() -> dict[str, Any]:
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    return {"description": "What went wrong, and what to do next.", "content": {_JSON: error}}
