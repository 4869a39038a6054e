"""`python -m dev.api_page`: docs/api.md, written from the contracts by way of the OpenAPI document."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dev.project import ROOT
from gateway.openapi import openapi

DOCUMENT: Final = ROOT / "docs/api.md"
_DESCRIPTORS: Final = ROOT / "gen/edge.pb"
TITLES: Final = {
    "auth": "Accounts",
    "voice": "Voices",
    "content": "Words",
    "synthesis": "Sounds",
    "perform": "Performing and recordings",
}
_HEAD: Final = """\
# API

Generated from the contracts by `python -m dev.api_page > docs/api.md`; a test compares.

Every running gateway has the same at `/docs`, to read and to try, and at `/v1/openapi.json`, for programs;
`./newvisions openapi > openapi.json` writes that document without a gateway. The contracts themselves,
with every rule, are in `protos/`.

Sign in with `Authorization: Bearer` (an access token, or an API key), or with the cookie that login
sets. Times are RFC 3339 in UTC. Every failure is the same object:

```json
{"error": "VOICE_CLONE_REQUIRED", "message": "...", "action": "...", "detail": "...", "request_id": "..."}
```

`error` is a stable code, `action` says what to do next. A field in **bold** must be there. Where
`Idempotency-Key` is listed, the same key and body get the first success again for 24 hours; a failure gives
its key back. While the first request is under way the second one waits for it; 504 means: ask again.
"""


def main() -> None:
    print(document(), end="")


def document() -> str:
    described = openapi(_DESCRIPTORS)
    schemas = described["components"]["schemas"]
    sections = [
        "\n".join([f"## {title}", "", *_calls(described["paths"], schemas, tag)])
        for tag, title in TITLES.items()
    ]
    return "\n".join([_HEAD, *sections])


def tags() -> set[str]:
    """Of all operations."""
    paths = openapi(_DESCRIPTORS)["paths"]
    return {tag for verbs in paths.values() for operation in verbs.values() for tag in operation["tags"]}


def _calls(paths: Mapping[str, Any], schemas: Mapping[str, Any], tag: str) -> Iterator[str]:
    for path, verbs in paths.items():
        for verb, operation in verbs.items():
            if tag in operation["tags"]:
                yield f"### {verb.upper()} {path}\n"
                yield from _call(operation, schemas)


def _call(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield operation["summary"] + ("" if "security" in operation else " Open to everybody.") + "\n"
    if "description" in operation:
        yield operation["description"] + "\n"
    parts = [("in", _asked(operation, schemas)), ("out", _answered(operation, schemas))]
    yield from (f"- {name}: {what}" for name, what in parts if what)
    yield ""


def _asked(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    names = [
        _named(each["name"], needed=each["required"])
        for each in operation["parameters"]
        if each["in"] != "path"
    ]
    body = operation.get("requestBody", {}).get("content", {})
    if "application/json" in body:
        names = [*_fields(body["application/json"]["schema"], schemas), *names]
    elif body:
        names = [f"the body, as {', '.join(f'`{kind}`' for kind in body)}", *names]
    return ", ".join(names)


def _answered(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    ((kind, answer),) = operation["responses"]["200"]["content"].items()
    if kind != "application/json":
        return f"`{kind}`"
    return ", ".join(_fields(answer["schema"], schemas)).replace("**", "") or "an empty object"


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[str]:
    if reference := schema.get("$ref"):
        schema = schemas[reference.rpartition("/")[2]]
    needed = schema.get("required", ())
    return [_named(name, needed=name in needed) for name in schema.get("properties", {})]


def _named(name: str, *, needed: bool) -> str:
    return f"**`{name}`**" if needed else f"`{name}`"


if __name__ == "__main__":
    main()
