"""How a process reads its settings: from its environment and from files, and not at all when one is wrong."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, MongoDsn, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings

S = TypeVar("S", bound=BaseSettings)
# A folder with one file for each secret, named like its variable: what is in a file is in no process list.
SECRETS_DIR = "SERVER_SECRETS_DIR"


# unix:/path, or a host and a port, for gRPC to find by itself or by DNS, where a name server may be named.
_ADDRESS: Final = re.compile(r"unix:.+|(?:dns://[\w.:\[\]-]*/)?(?:\[[\da-fA-F:.]+\]|[\w.-]+):(\d{1,5})")
_MONGO: Final = TypeAdapter(MongoDsn)
_STORE: Final = re.compile(r"(?:file:///|memory:///|(?:s3|gs|az|azure|https)://[^/\s]).*")


class SettingUnusable(Exception):
    """The process must not start. Says in one line which setting is at fault and why, and never a secret."""


class SettingsWrong(SystemExit):
    """Ends the process: one line for each setting that is missing or wrong, and never its value."""


def read(kind: type[S]) -> S:
    """The settings of a process. Variables win over files. Raises SettingsWrong."""
    secrets = os.environ.get(SECRETS_DIR) or None
    if secrets and not Path(secrets).is_dir():
        raise SettingsWrong(f"setting {SECRETS_DIR}: there is no folder {secrets}")
    try:
        return kind(_secrets_dir=secrets)
    except ValidationError as error:
        prefix = kind.model_config.get("env_prefix", "")
        raise SettingsWrong("\n".join(_lines(error, prefix))) from None


@contextmanager
def at_fault(setting: str, why: str, *errors: type[Exception]) -> Iterator[None]:
    """Whatever of `errors` is raised inside is the fault of this setting. Raises SettingUnusable.

    A library's own words are left out: they may quote an address with a password in it.
    """
    try:
        yield
    except errors as error:
        raise SettingUnusable(f"setting {setting}: {why} ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    """What a library called it, not what we made of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__


def _checked_address(address: str) -> str:
    found = _ADDRESS.fullmatch(address)
    if address and (found is None or int(found[1] or 0) > 65_535):
        raise ValueError("must be host:port")
    return address


def _checked_mongo_url(url: str) -> str:
    """As it was given: with the port that MongoDsn adds, no mongodb+srv address would be one."""
    try:
        _MONGO.validate_python(url)
    except ValidationError as error:
        raise ValueError(error.errors(include_url=False, include_input=False)[0]["msg"]) from None
    return url


def _checked_store(url: str) -> str:
    if not _STORE.fullmatch(url):
        raise ValueError("must be a store like file:///folder, s3://bucket/folder, gs://..., az://...")
    return url


# Empty where a setting says that this means something.
Address = Annotated[str, AfterValidator(_checked_address)]
MongoUrl = Annotated[str, AfterValidator(_checked_mongo_url)]
StoreUrl = Annotated[str, AfterValidator(_checked_store)]


def read_secret(file: Path) -> str:
    """The key that is all a file holds. Raises ValueError, which names the file and never what is in it."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"{file} cannot be read: {cause}") from None
    if not secret or not secret.isascii() or not secret.isprintable():
        raise ValueError(f"{file} does not hold an API key")
    return secret


def read_key_file(setting: str, file: Path) -> str:
    """The same for the file that a setting names. Raises SettingUnusable."""
    try:
        return read_secret(file)
    except ValueError as error:
        raise SettingUnusable(f"setting {setting}: {error}") from None


def _lines(error: ValidationError, prefix: str) -> list[str]:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [f"{_named(wrong['loc'], prefix)}: {_said(wrong['type'], wrong['msg'])}" for wrong in found]


def _named(place: tuple[Any, ...], prefix: str) -> str:
    """Some settings contradict each other, and no single one is wrong."""
    if not place:
        return f"settings {prefix}*"
    name = ".".join(map(str, place))
    return f"setting {(name if name.upper().startswith(prefix) else prefix + name).upper()}"


def _said(kind: str, message: str) -> str:
    return "is not set, and has no default" if kind == "missing" else message.removeprefix("Value error, ")
