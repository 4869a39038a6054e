"""`python -m dev.settings_table`: docs/settings.md, written from the settings' own source.

What a setting is for is the comment above it. Where its name says that in the source, or the comment
gives a reason only, dev/settings_words.py says it for readers of the table.
"""

import ast
import inspect
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from dev.project import ROOT
from dev.settings_words import WORDS
from gateway.settings import GatewaySettings, Limits, Tls

DOCUMENT: Final = ROOT / "docs/settings.md"

_BOUNDS: Final = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "length at least {}",
    "max_length": "length at most {}",
    "pattern": "like `{}`",
}
_KINDS: Final[dict[Any, str]] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    SecretStr: "text",
    Path: "file or folder",
    Limits: "see below",
    Tls: "see below",
}
_SECRET_FILES: Final = ("key_file", "api_key_file", "tls.key")
_MAY_HOLD_PASSWORDS: Final = ("mongo_url", "valkey_url")


class SettingUnexplained(Exception):
    """A setting has neither a comment in its source nor words in dev/settings_words.py."""


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    kind: str
    default: str
    bounds: str
    secret: str
    purpose: str


def main() -> None:
    print(document(), end="")


def document() -> str:
    sections = [
        _section(_title(kind), inspect.getdoc(kind) or "", settings_of(kind)) for kind in settings_classes()
    ]
    return "\n".join([_HEAD, *sections, _section("Gateway", _GATEWAY, gateway_settings())])


def settings_classes() -> list[type[BaseSettings]]:
    """All of them, without those that are only a part of another one."""
    for path in sorted((ROOT / "services").rglob("*.py")):
        if "(BaseSettings)" in path.read_text(encoding="utf-8"):
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    ours = {kind for kind in _descendants(BaseSettings) if kind.__module__.startswith("services.")}
    whole = [kind for kind in ours if not ours.intersection(kind.__subclasses__())]
    return sorted(whole, key=lambda kind: (_ORDER.index(_prefix(kind).split("_")[0]), _prefix(kind)))


def settings_of(kind: type[BaseSettings]) -> Iterator[Setting]:
    comments = _comments(*reversed(kind.__mro__[: kind.__mro__.index(BaseSettings)]))
    for name, field in kind.model_fields.items():
        variable = _variable(kind, name, field)
        yield Setting(
            variable,
            _said(field.annotation),
            _default(field),
            _bounds(field.metadata),
            _secrecy(name, field.annotation),
            _purpose(variable, comments.get(name)),
        )


def gateway_settings() -> Iterator[Setting]:
    yield from _of_dataclass(GatewaySettings, "")
    yield from _of_dataclass(Limits, "limits.")
    yield from _of_dataclass(Tls, "*_tls.")


def _of_dataclass(kind: type[Any], prefix: str) -> Iterator[Setting]:
    comments, types_of = _comments(kind), typing.get_type_hints(kind)
    for field in fields(kind):
        name = prefix + field.name
        secret = "file holds it" if name in _SECRET_FILES else "no"
        purpose = _purpose(name, comments.get(field.name))
        yield Setting(name, _said(types_of[field.name]), _dataclass_default(field), "", secret, purpose)


def _dataclass_default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return _shown(field.default)
    return "**required**" if field.default_factory is MISSING else "see below"


def _descendants(kind: type[BaseSettings]) -> set[type[BaseSettings]]:
    direct = set(kind.__subclasses__())
    return direct.union(*(_descendants(each) for each in direct))


def _prefix(kind: type[BaseSettings]) -> str:
    return str(kind.model_config.get("env_prefix", "")).removesuffix("_")


def _title(kind: type[BaseSettings]) -> str:
    return " ".join(word.capitalize() for word in _prefix(kind).split("_"))


def _variable(kind: type[BaseSettings], name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else f"{_prefix(kind)}_{name}".upper()


def _comments(*kinds: type[Any]) -> dict[str, str]:
    """The comment right above each field, by the field's name; those of later classes win."""
    found: dict[str, str] = {}
    for kind in kinds:
        source = inspect.getsource(kind)
        lines = [line.strip() for line in source.splitlines()]
        (body,) = ast.parse(source).body
        for field in ast.walk(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                above = _above(lines[: field.lineno - 1])
                if above:
                    found[field.target.id] = above
    return found


def _above(lines: Sequence[str]) -> str:
    said: list[str] = []
    for line in reversed(lines):
        if not line.startswith("#"):
            break
        said.insert(0, line.removeprefix("#").strip())
    return " ".join(said)


def _purpose(name: str, comment: str | None) -> str:
    said = [words for words in (WORDS.get(name), comment) if words]
    if not said:
        raise SettingUnexplained(f"{name}: say in a comment above it what it is for")
    return " ".join(said)


def _said(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f"`{part}`" if part else "empty" for part in parts)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_said(part) for part in parts if part is not type(None))
    if origin is tuple:
        return "texts" if parts[0] is str else f"several, each {_said(parts[0])}"
    if annotation in _KINDS:
        return _KINDS[annotation]
    return "URL" if str(annotation.__name__).endswith(("Dsn", "Url")) else "map"


def _default(field: FieldInfo) -> str:
    return "**required**" if field.default is PydanticUndefined else _shown(field.default)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, Path):
        value = value.relative_to(ROOT) if value.is_relative_to(ROOT) else value
    if value is None or value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _bounds(metadata: Sequence[Any]) -> str:
    found = [
        words.format(getattr(bound, name))
        for bound in metadata
        for name, words in _BOUNDS.items()
        if getattr(bound, name, None) is not None
    ]
    return ", ".join(found)


def _secrecy(name: str, annotation: Any) -> str:
    if annotation is SecretStr:
        return "**yes**"
    if name.endswith(_SECRET_FILES):
        return "file holds it"
    return "may hold a password" if name in _MAY_HOLD_PASSWORDS else "no"


def _section(title: str, introduction: str, settings: Iterator[Setting]) -> str:
    rows = [
        [f"`{each.name}`", each.kind, each.default, each.bounds, each.secret, each.purpose]
        for each in settings
    ]
    head = ["setting", "type", "default", "bounds", "secret", "what it is for"]
    table = [head, ["---"] * len(head), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    return f"## {title}\n\n{' '.join(introduction.split())}\n\n" + "\n".join(lines) + "\n"


_ORDER: Final = ["SERVER", "TLS", "SCHEMA", "AUTH", "VOICE", "CONTENT", "SYNTHESIS", "PERFORM"]
_HEAD: Final = """\
# Settings

Generated from the source by `python -m dev.settings_table > docs/settings.md`; a test compares.

A service reads its settings once, when it starts: from environment variables, and from a folder with one
file for each secret, named like its variable in small letters, when `SERVER_SECRETS_DIR` names one.
Variables win. A wrong or missing setting ends the start with a line that names it,
`setting VOICE_BLOB_URL: is not set, and has no default`; values are never printed. `./newvisions doctor`
looks further: whether what the settings name is there, and works.

Two more variables belong to no service: `SERVER_SERVICES` names the services of a process that is started
without arguments, and `OTEL_EXPORTER_OTLP_ENDPOINT` switches traces on (the rest are OpenTelemetry's own
variables). Where something is kept at a cloud's store, `*_BLOB_URL` says where, and the cloud's own
variables hold the credentials.

"Secret" says what to keep out of manifests: values that are secrets, files that hold one, and URLs in
which a password may stand.
"""
_GATEWAY: Final = """\
No environment variables: names in the JSON file that `python -m gateway --settings PATH` reads, or in all
`*.json` of a folder, each of which has settings of its own. `limits` and the two `*_tls` are objects, or null
for none. What its traces say of the process is in `OTEL_RESOURCE_ATTRIBUTES`, as for the services.
"""


if __name__ == "__main__":
    main()
