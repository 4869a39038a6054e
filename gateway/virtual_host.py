"""The routes as Envoy wants them: one matcher for each rule, then a sentence for each miss."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from gateway.client import RESERVED
from gateway.limits import pace_of
from gateway.routes import DEFAULT_BODY_KIB, Route, path_order, path_regex
from gateway.settings import GatewaySettings

TYPES = "type.googleapis.com/envoy.extensions."
JWT = "envoy.filters.http.jwt_authn"
LUA = "envoy.filters.http.lua"
BUFFER = "envoy.filters.http.buffer"
# The service answers by its own deadline; this is for one that does not.
GRACE_SECONDS = 0.25
# A stream that sends nothing for this long is broken.
STREAM_IDLE_SECONDS = 20.0
_UNKNOWN = "There is no such route."
PERFORMANCES = {
    "newvisions.perform.v1.PerformService/Perform",
    "newvisions.perform.v1.PerformService/StreamPerform",
}
_STAY_WITH_TLS = "max-age=31536000; includeSubDomains"
EXPOSED = (
    "x-request-id, retry-after, ratelimit, ratelimit-policy, content-range, accept-ranges, "
    "content-disposition, performance-id, recording-id, voice-note-text, voice-note-text-whole, "
    "voice-source, expected-duration-seconds"
)


def virtual_host(
    routes: list[Route],
    settings: GatewaySettings,
    pages: Iterable[dict[str, Any]] = (),
    client: Iterable[dict[str, Any]] = (),
) -> dict[str, Any]:
    """`pages` and the files of the `client` are answered by the gateway itself."""
    host: dict[str, Any] = {
        "name": "newvisions",
        "domains": ["*"],
        "routes": [
            *pages,
            *(_forward(route) for route in routes),
            *_wrong_methods(routes),
            # Before the client, which has an answer for everything.
            *(_miss(f"unknown {name}", {"path_separated_prefix": f"/{name}"}, _UNKNOWN) for name in RESERVED),
            *client,
            _miss("unknown", {"prefix": "/"}, _UNKNOWN),
        ],
        "virtual_clusters": [_performances(routes)],
        # Tokens stop here: services trust what was verified, not what was sent.
        # What a client says of its own address counts for nothing.
        "request_headers_to_add": [_header("x-client-address", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")],
        "request_headers_to_remove": ["authorization", "cookie", "x-api-key"],
        # Memos, samples and tokens are nobody else's, and hardly anything here is a page.
        "response_headers_to_add": [
            _header("cache-control", "no-store", how="ADD_IF_ABSENT"),
            _header("x-content-type-options", "nosniff"),
            # Only who ends TLS here can promise it; elsewhere it is the load balancer's to say.
            *([_header("strict-transport-security", _STAY_WITH_TLS)] if settings.listener_tls else []),
        ],
    }
    if settings.cors_origins:
        host["typed_per_filter_config"] = {"envoy.filters.http.cors": _cors(settings.cors_origins)}
    return host


def _performances(routes: list[Route]) -> dict[str, Any]:
    """Performances that no service answered are counted here alone; those answered count as 200, whatever
    the answer is."""
    # The router sees what the transcoder made of the request.
    calls = sorted({re.escape(f"/{route.rpc}") for route in routes if route.rpc in PERFORMANCES})
    path = {"name": ":path", "string_match": {"safe_regex": {"regex": "|".join(calls)}}}
    return {"name": "performances", "headers": [path]}


def _forward(route: Route) -> dict[str, Any]:
    milliseconds = round(route.deadline_seconds * 1000)
    timeout = route.deadline_seconds + GRACE_SECONDS
    idle = STREAM_IDLE_SECONDS if route.streams else timeout + 1
    action: dict[str, Any] = {
        "cluster": route.service,
        "timeout": f"{timeout}s",
        "idle_timeout": f"{idle}s",
        "retry_policy": _retries(route),
    }
    forward: dict[str, Any] = {
        "name": f"{route.method} {route.template}",
        "metadata": {"filter_metadata": {**pace_of(route), LUA: _for_lua(route)}},
        "match": _match(route.template, route.method),
        "route": action,
        "request_headers_to_add": [_header("grpc-timeout", f"{milliseconds}m")],
    }
    if own := _filters_of(route):
        forward["typed_per_filter_config"] = own
    return forward


def _for_lua(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {"needs_token": route.needs_token}
    if route.rpc in PERFORMANCES:
        told["has_places"] = True
    if route.null_when_unset:
        told["null_when_unset"] = list(route.null_when_unset)
    return told


def _filters_of(route: Route) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if route.needs_token:
        own[JWT] = {
            "@type": f"{TYPES}filters.http.jwt_authn.v3.PerRouteConfig",
            "requirement_name": "signed_in",
        }
    if route.max_body_kib != DEFAULT_BODY_KIB:
        own[BUFFER] = {
            "@type": f"{TYPES}filters.http.buffer.v3.BufferPerRoute",
            "buffer": {"max_request_bytes": route.max_body_kib * 1024},
        }
    return own


def _match(template: str, method: str = "") -> dict[str, Any]:
    match: dict[str, Any] = (
        {"safe_regex": {"regex": path_regex(template)}} if "{" in template else {"path": template}
    )
    if method:
        match["headers"] = [{"name": ":method", "string_match": {"exact": method}}]
    return match


def _retries(route: Route) -> dict[str, Any]:
    """Reads may be asked twice; everything else only when the first never left the gateway."""
    never_sent = "connect-failure,refused-stream"
    again = f"{never_sent},reset-before-request,unavailable" if route.reads_only else never_sent
    return {"retry_on": again, "num_retries": 1}


def _wrong_methods(routes: list[Route]) -> Iterator[dict[str, Any]]:
    known = sorted(routes, key=lambda route: path_order(route.template))
    for template, group in groupby(known, key=lambda route: route.template):
        *others, last = sorted({route.method for route in group})
        methods = f"{', '.join(others)} and {last}" if others else last
        sentence = f"{template} answers to {methods} only."
        yield _miss(f"wrong method {template}", _match(template), sentence)


def _miss(name: str, match: dict[str, Any], sentence: str) -> dict[str, Any]:
    """A route that the transcoder refuses. It is one all the same, for CORS and rate limits to see."""
    return {
        "name": name,
        "match": match,
        "metadata": {"filter_metadata": {"newvisions": {"miss": sentence}}},
        "route": {"cluster": "nowhere"},
    }


def _cors(origins: Iterable[str]) -> dict[str, Any]:
    return {
        "@type": f"{TYPES}filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": "GET, POST, PUT, PATCH, DELETE",
        "allow_headers": "authorization, content-type, idempotency-key, range, x-request-id",
        "expose_headers": EXPOSED,
        "max_age": "600",
        "allow_credentials": True,
    }


def _header(key: str, value: str, how: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": how}
