"""The route table, read from the contracts: what the gateway lets in, and how each route behaves."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2

from newvisions.edge.v1 import edge_pb2

DEFAULT_DEADLINE_SECONDS = 5.0
DEFAULT_BODY_KIB = 64
_PACKAGE = re.compile(r"newvisions\.(\w+)\.v\d+")
_VARIABLE = re.compile(r"\{\w+\}")


class Pace(Enum):
    READS = edge_pb2.PACE_UNSPECIFIED
    COSTLY = edge_pb2.PACE_COSTLY
    GUESSABLE = edge_pb2.PACE_GUESSABLE


class UnknownTemplate(ValueError):
    """A path template that the gateway's matcher would not understand."""


@dataclass(frozen=True, slots=True)
class Route:
    """One HTTP method and path template, and the call it becomes."""

    method: str
    template: str
    service: str
    rpc: str
    access: int
    pace: Pace
    deadline_seconds: float
    max_body_kib: int
    streams: bool
    # Of the answer, in JSON.
    null_when_unset: tuple[str, ...]

    @property
    def service_name(self) -> str:
        """The full name of the gRPC service."""
        return self.rpc.partition("/")[0]

    @property
    def needs_token(self) -> bool:
        return self.access not in {edge_pb2.ACCESS_UNSPECIFIED, edge_pb2.ACCESS_OPEN}

    @property
    def reads_only(self) -> bool:
        return self.method == "GET"

    @property
    def has_variables(self) -> bool:
        return "{" in self.template


def read_routes(descriptors: Path) -> list[Route]:
    """Every HTTP rule of every method that may be called from outside, most literal paths first.

    Raises ValueError when a method has HTTP rules and no policy, or two rules claim one path.
    """
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptors.read_bytes())
    routes = [route for file in files.file for route in _routes_of(file)]
    seen: dict[tuple[str, str], str] = {}
    for route in routes:
        key = (route.method, _VARIABLE.sub("{}", route.template))
        if seen.setdefault(key, route.rpc) != route.rpc:
            raise ValueError(f"{route.method} {route.template} belongs to {seen[key]} and {route.rpc}")
    return sorted(routes, key=lambda route: (path_order(route.template), route.method))


def path_order(template: str) -> list[tuple[bool, str]]:
    """Sorts a literal segment before a variable in the same place."""
    return [("{" in segment, segment) for segment in template.split("/")]


def path_regex(template: str) -> str:
    """The template as a regular expression; a variable is one whole segment."""
    parts = re.split(r"(\{[^}]*\})", template)
    for variable in parts[1::2]:
        if not _VARIABLE.fullmatch(variable):
            raise UnknownTemplate(f"{variable} in {template}")
    return "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts)


def _routes_of(file: descriptor_pb2.FileDescriptorProto) -> Iterator[Route]:
    package = _PACKAGE.fullmatch(file.package)
    if package is None:
        return
    for service in file.service:
        for method in service.method:
            rpc = f"{file.package}.{service.name}/{method.name}"
            rule = method.options.Extensions[annotations_pb2.http]
            policy = method.options.Extensions[edge_pb2.route]
            if not rule.WhichOneof("pattern"):
                continue
            if policy.access == edge_pb2.ACCESS_UNSPECIFIED:
                raise ValueError(f"{rpc} has an HTTP rule but does not say who may call it")
            for binding in (rule, *rule.additional_bindings):
                yield _route(binding, policy, package[1], rpc, streams=method.server_streaming)


def _route(
    binding: http_pb2.HttpRule, policy: edge_pb2.RoutePolicy, service: str, rpc: str, *, streams: bool
) -> Route:
    verb = binding.WhichOneof("pattern")
    given = policy.deadline.seconds + policy.deadline.nanos / 1e9
    return Route(
        method=verb.upper(),
        template=getattr(binding, verb),
        service=service,
        rpc=rpc,
        access=policy.access,
        pace=Pace(policy.pace),
        deadline_seconds=given or DEFAULT_DEADLINE_SECONDS,
        max_body_kib=policy.max_body_kib or DEFAULT_BODY_KIB,
        streams=streams,
        null_when_unset=tuple(policy.null_when_unset),
    )
