"""What differs between one gateway and another."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")

SERVICES = ("auth", "voice", "content", "synthesis", "perform")
# The longest path a Unix socket may have on Linux, less the closing zero.
_MAX_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls a minute; `address` bounds one address over all routes, above what it may do on each."""

    reads: int = 300
    costly: int = 60
    guessable: int = 30
    address: int = 1200


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM form. `authority` signed the certificates of the other side; empty to ask for none."""

    certificate: str
    key: str
    authority: str = ""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """`upstreams` names host:port for each of the five services; several may share one process."""

    upstreams: Mapping[str, str]
    # A Unix socket, mode 0600: the only way to the admin interface.
    admin_socket: str
    listen_host: str = "0.0.0.0"  # nosec B104 - a gateway is there to be reached
    listen_port: int = 8080
    descriptors: str = "gen/edge.pb"
    cors_origins: tuple[str, ...] = ()
    # A directory with a client's own files, read at start and served at /; empty for none.
    client: str = ""
    # None for clear text: behind a load balancer that ends TLS, or on one machine.
    listener_tls: Tls | None = None
    # What the services know the gateway by. With it they are believed only by their own names.
    upstream_tls: Tls | None = None
    # host:port of a collector of traces; empty for no traces.
    otlp: str = ""
    # Where monitoring reads Envoy's own metrics, /stats/prometheus and nothing else; 0 for nowhere.
    metrics_port: int = 0
    # None switches rate limits off.
    limits: Limits | None = field(default_factory=Limits)
    cookie_name: str = "newvisions_session"
    issuer: str = "newvisions"
    audience: str = "newvisions"
    # Empty for standard output.
    access_log: str = ""
    # Proxies in front of this gateway whose X-Forwarded-For is believed.
    trusted_proxies: int = 0
    # Requests one service works on at once before the gateway answers 503.
    max_requests: int = 200
    max_connections: int = 20_000

    def __post_init__(self) -> None:
        missing = sorted(set(SERVICES) - set(self.upstreams))
        if missing:
            raise ValueError(f"no upstream for {', '.join(missing)}")
        if len(self.loopback_socket) > _MAX_SOCKET_PATH:
            raise ValueError(f"socket path too long for the system: {self.loopback_socket}")

    @property
    def loopback_socket(self) -> str:
        """Where the gateway reaches its own transcoder; also mode 0600."""
        return f"{self.admin_socket}.loop"


class SettingsWrong(ValueError):
    """The gateway must not start: one line that says which setting is at fault, and why."""


def load_settings(path: Path) -> GatewaySettings:
    """Of a file, or of all *.json of a folder, each with settings of its own. Raises SettingsWrong."""
    given: dict[str, object] = {}
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        part = _read(file)
        if twice := sorted(part.keys() & given.keys()):
            raise SettingsWrong(f"{file}: set in another file as well: {', '.join(twice)}")
        given |= part
    try:
        return _made(GatewaySettings, given, "")
    except ValueError as error:
        raise SettingsWrong(f"{path}: {error}") from error


def _read(file: Path) -> dict[str, object]:
    try:
        given = json.loads(file.read_text())
    except OSError as error:
        raise SettingsWrong(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsWrong(f"{file} is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise SettingsWrong(f"{file}: the settings must be an object")
    if "cors_origins" in given:
        given["cors_origins"] = tuple(given["cors_origins"] or ())
    return given


def _made(kind: type[T], given: object, where: str) -> T:
    """Raises ValueError for names that are none of the settings or are missing, and for wrong kinds."""
    if not isinstance(given, dict):
        raise ValueError(f"{where.rstrip('.') or 'the settings'} must be an object")  # noqa: TRY004 - not our code's
    known = get_type_hints(kind)
    if unknown := sorted(given.keys() - known.keys()):
        raise ValueError(f"unknown settings: {', '.join(where + name for name in unknown)}")
    try:
        return kind(**{name: _value(known[name], value, where + name) for name, value in given.items()})
    except TypeError as error:
        # What Python says of it names the arguments that are missing.
        missing = str(error).partition("() ")[2]
        raise ValueError(f"{where.rstrip('.')} {missing}".strip()) from error


def _value(kind: Any, value: object, name: str) -> object:
    kinds = get_args(kind) or (kind,)
    if value is None and NoneType in kinds:
        return None
    for each in kinds:
        if isinstance(each, type) and is_dataclass(each):
            return _made(each, value, f"{name}.")
    if kind in {str, int} and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ValueError(f"{name} must be {'a text' if kind is str else 'a whole number'}")
    if name == "upstreams" and not isinstance(value, dict):
        raise ValueError("upstreams must be an object")
    return value
