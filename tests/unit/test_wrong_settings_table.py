"""Every setting, given what it cannot be: one line that names it and tells nothing of what was given."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import AliasChoices, HttpUrl, RedisDsn
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from dev.settings_table import settings_classes
from services.kernel.settings import Address, MongoUrl, SettingsWrong, StoreUrl, read

SECRET = "hunter2"
# Good enough to be read; nothing is asked.
GIVEN = {
    "mongo_url": "mongodb://127.0.0.1:9",
    "valkey_url": "redis://127.0.0.1:9",
    "key_file": "/nowhere",
    "api_key_file": "/nowhere",
    "blob_url": "file:///nowhere",
}
# Whatever is said about an address must not repeat the password in it.
WRONG_TEXTS = {
    MongoUrl: (SECRET, f"mongodb://ada:{SECRET}@127.0.0.1:port", f"mongodb://ada:{SECRET}@", "", "http://x"),
    RedisDsn: (SECRET, f"redis://:{SECRET}@127.0.0.1:port", f"http://:{SECRET}@127.0.0.1"),
    HttpUrl: (SECRET, f"ftp://ada:{SECRET}@127.0.0.1", "http://"),
    StoreUrl: (SECRET, f"ftp://{SECRET}", f"file:{SECRET}", "s3://", ""),
    Address: (f"http://{SECRET}", f"{SECRET}:99999", f"{SECRET} :1"),
}
KINDS = (int, float, bool)


def variable(kind: type[BaseSettings], name: str, field: FieldInfo) -> str:
    if isinstance(field.validation_alias, AliasChoices):
        return str(field.validation_alias.choices[0])
    return f"{kind.model_config['env_prefix']}{name}".upper()


def asked_of(field: FieldInfo) -> list[Any]:
    return [field.annotation, *get_args(field.annotation)]


def wrong_values(field: FieldInfo) -> Iterator[str]:
    asked = asked_of(field)
    if any(part in KINDS or get_origin(part) is Literal for part in asked):
        yield SECRET
    for bound in field.metadata:
        match bound:
            case Ge(ge):
                yield str(float(str(ge)) - 1)
            case Le(le):
                yield str(float(str(le)) + 1)
            case Gt(limit) | Lt(limit):
                yield str(limit)
    if any(hasattr(bound, "pattern") for bound in field.metadata):
        yield f"{SECRET} /"
    for kind, texts in WRONG_TEXTS.items():
        if kind in asked or any(check in field.metadata for check in get_args(kind)[1:]):
            yield from texts


TABLE = [
    (kind, variable(kind, name, field), value)
    for kind in settings_classes()
    for name, field in kind.model_fields.items()
    for value in wrong_values(field)
]


@pytest.mark.parametrize(
    ("kind", "name", "value"), TABLE, ids=lambda part: part.__name__ if isinstance(part, type) else part
)
def test_a_wrong_value_is_one_line_that_names_the_setting_and_tells_nothing(
    kind: type[BaseSettings], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for needed, field in kind.model_fields.items():
        if needed in GIVEN and field.is_required():
            monkeypatch.setenv(variable(kind, needed, field), GIVEN[needed])
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsWrong) as refused:
        read(kind)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"setting {name}")
    assert SECRET not in line


def test_the_table_knows_every_setting_that_can_be_wrong_by_itself() -> None:
    free = {"str", "Path", "SecretStr"}
    left = [
        variable(kind, name, field)
        for kind in settings_classes()
        for name, field in kind.model_fields.items()
        if not list(wrong_values(field))
        and not free & {getattr(part, "__name__", "") for part in asked_of(field)}
    ]
    assert left == []


def test_an_address_of_a_cluster_by_name_stays_as_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.perform.settings import Settings

    monkeypatch.setenv("PERFORM_MONGO_URL", "mongodb+srv://ada:pass@cluster.example/?appName=x")
    monkeypatch.setenv("PERFORM_BLOB_URL", "s3://bucket/folder")
    assert read(Settings).mongo_url == "mongodb+srv://ada:pass@cluster.example/?appName=x"


def test_a_folder_of_secrets_that_is_not_there_is_no_folder_without_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from services.content.settings import Settings

    monkeypatch.setenv("CONTENT_VALKEY_URL", "redis://127.0.0.1:9")
    monkeypatch.setenv("SERVER_SECRETS_DIR", "/nowhere/at/all")
    with pytest.raises(SettingsWrong, match="SERVER_SECRETS_DIR: there is no folder /nowhere/at/all"):
        read(Settings)
