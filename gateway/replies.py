"""The gateway's own refusals, in the same shape as the services' errors."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

TYPES = "type.googleapis.com/envoy.extensions."
DETAILS = "response.code_details"
REQUEST = "%STREAM_ID%"
# Requests that were refused before they had an id; the access log knows the connection.
CONNECTION = "connection-%CONNECTION_ID%"


def _because(detail: str) -> str:
    return f"{DETAILS}.contains('{detail}')"


@dataclass(frozen=True, slots=True)
class Reply:
    """The first whose status and condition fit shapes the answer.

    `when` is a CEL expression; empty fits all. `answer` is the status the client sees, when not the
    same.
    """

    status: int
    error: str
    message: str
    action: str
    when: str = ""
    answer: int = 0
    retry_after_seconds: int = 0
    request_id: str = REQUEST


# The route table's sentence about a path that is none of its routes.
NOWHERE = "xds.cluster_name == 'nowhere' && " + _because("no_healthy_upstream")
MISS = "%METADATA(ROUTE:newvisions:miss)%"
# Said by a Lua filter.
OURS = _because("lua_response")
LOOK = "Check the path and the method; the paths begin with /v1."
LOG_IN = "Log in (POST /v1/auth/login) and send the access token as a bearer token or cookie."

# How the names of routes to a client's own files begin; the content type follows.
CLIENT = "client"
# Routes that the gateway answers by itself.
PAGES = {"GET /docs": "text/html; charset=utf-8", "GET /v1/openapi.json": "application/json"}

REPLIES = (
    Reply(
        400,
        "INVALID_REQUEST",
        "The request is not well-formed HTTP.",
        "Correct the request and send it again.",
        request_id=CONNECTION,
    ),
    Reply(
        401,
        "AUTH_UNAVAILABLE",
        "Sign-in cannot be checked right now.",
        "Try again in a few seconds; the token need not be renewed.",
        when=_because("Jwks_remote_fetch_is_failed"),
        answer=503,
        retry_after_seconds=2,
    ),
    Reply(
        401,
        "UNAUTHENTICATED",
        "This route needs an access token.",
        LOG_IN,
        when=_because("Jwt_is_missing"),
    ),
    Reply(
        401,
        "UNAUTHENTICATED",
        "The access token has expired.",
        "Renew it (POST /v1/auth/refresh) or log in again.",
        when=_because("Jwt_is_expired"),
    ),
    Reply(
        401,
        "UNAUTHENTICATED",
        "The session has ended.",
        "Log in again (POST /v1/auth/login).",
        when=f"{OURS} && metadata.filter_metadata['newvisions']['refused'] == 'session'",
    ),
    Reply(
        401,
        "UNAUTHENTICATED",
        "The API key is not valid.",
        "Check the key, or make a new one (POST /v1/api-keys).",
        when=OURS,
    ),
    Reply(401, "UNAUTHENTICATED", "The access token is not valid.", LOG_IN),
    Reply(
        403,
        "ORIGIN_NOT_ALLOWED",
        "This page may not act for you.",
        "Send an access token as a bearer token, or ask the operator to list the page's origin.",
        when=OURS,
    ),
    Reply(
        403,
        "UNAUTHENTICATED",
        "The access token was made for another audience.",
        LOG_IN,
        when=_because("jwt_authn_access_denied"),
        answer=401,
    ),
    Reply(
        404,
        "ROUTE_NOT_FOUND",
        "Native gRPC is not spoken here.",
        "Call the HTTP routes, which begin with /v1.",
        when=OURS,
    ),
    Reply(404, "ROUTE_NOT_FOUND", MISS, LOOK),
    Reply(408, "DEADLINE_EXCEEDED", "The request took too long to arrive.", "Send it again.", answer=504),
    Reply(
        426,
        "INVALID_REQUEST",
        "HTTP/1.0 is not served.",
        "Send the request with HTTP/1.1 or HTTP/2.",
        answer=400,
    ),
    Reply(413, "TOO_LARGE", "The body is larger than this route takes.", "Send a smaller body."),
    Reply(
        431,
        "TOO_LARGE",
        "The headers are too large.",
        "Send fewer or smaller headers.",
        answer=413,
        request_id=CONNECTION,
    ),
    Reply(
        429,
        "TOO_MANY_REQUESTS",
        "There were too many requests.",
        "Wait for the seconds named in Retry-After, then go on more slowly.",
    ),
    Reply(
        502,
        "SERVICE_UNAVAILABLE",
        "The answer of a service could not be understood.",
        "Try again in a few seconds.",
        retry_after_seconds=2,
    ),
    # As the perform service says it.
    Reply(
        503,
        "PERFORM_BUSY",
        "Too many performances are under way.",
        "Try again after the seconds named in Retry-After.",
        when=f"{OURS} && metadata.filter_metadata['newvisions']['refused'] == 'crowd'",
        retry_after_seconds=2,
    ),
    Reply(
        503,
        "AUTH_UNAVAILABLE",
        "Sign-in cannot be checked right now.",
        "Try again in a few seconds; neither key nor session need be renewed.",
        when=OURS,
        retry_after_seconds=2,
    ),
    # The transcoder lets a path with one slash too many pass; nothing stands behind it.
    Reply(503, "ROUTE_NOT_FOUND", MISS, LOOK, when=NOWHERE, answer=404),
    Reply(
        503,
        "SERVICE_UNAVAILABLE",
        "The service cannot be reached right now.",
        "Try again in a few seconds.",
        retry_after_seconds=2,
    ),
    Reply(
        504,
        "DEADLINE_EXCEEDED",
        "The request took too long.",
        "Try again; send the same Idempotency-Key to get the same result.",
    ),
)

ANYTHING_ELSE = Reply(
    0, "INTERNAL", "Something went wrong.", "Try again; if it goes on, report the request_id."
)


def local_reply_config(client_types: Iterable[str] = ()) -> dict[str, Any]:
    """`client_types` are the content types of a client's own files."""
    mappers = [
        *(_page(route, content_type) for route, content_type in PAGES.items()),
        *(_client_file(content_type) for content_type in sorted(client_types)),
        _healthy(),
        _parse_error(),
        *(_mapper(reply) for reply in REPLIES),
    ]
    return {"mappers": mappers, "body_format": _body(ANYTHING_ELSE)}


def _page(route: str, content_type: str) -> dict[str, Any]:
    """What the gateway answers by itself is no refusal, and goes out as it is."""
    return {
        "filter": _filter(200, f"xds.route_name == '{route}'"),
        "body_format_override": _as_it_is(content_type),
    }


def _client_file(content_type: str) -> dict[str, Any]:
    """Also when there is none because the browser has it: then the body is empty."""
    condition = f"response.code < 400 && xds.route_name.startsWith('{CLIENT} {content_type} ')"
    return {
        "filter": _expression(condition),
        "body_format_override": _as_it_is(content_type),
    }


def _as_it_is(content_type: str) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}, "content_type": content_type}


def _healthy() -> dict[str, Any]:
    body = {"json_format": {"status": "ok"}, "content_type": "application/json"}
    return {"filter": _filter(200), "body_format_override": body}


def _parse_error() -> dict[str, Any]:
    """The transcoder's own words, for edge.lua to make a sentence of that names none of our types."""
    return {
        "filter": _filter(400, _because("grpc_json_transcode_failure")),
        "headers_to_add": [_header("x-parse-error", "yes")],
        "body_format_override": {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}},
    }


def _mapper(reply: Reply) -> dict[str, Any]:
    mapper: dict[str, Any] = {
        "filter": _filter(reply.status, reply.when),
        "body_format_override": _body(reply),
    }
    if reply.answer:
        mapper["status_code"] = reply.answer
    headers = [_header("retry-after", str(reply.retry_after_seconds))] if reply.retry_after_seconds else []
    if reply.request_id is not REQUEST:
        headers.append(_header("x-request-id", reply.request_id))
    if headers:
        mapper["headers_to_add"] = headers
    return mapper


def _header(key: str, value: str) -> dict[str, Any]:
    return {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _body(reply: Reply) -> dict[str, Any]:
    body = {
        "error": reply.error,
        "message": reply.message,
        "action": reply.action,
        "detail": reply.message,
        "request_id": reply.request_id,
    }
    return {"json_format": body, "content_type": "application/json"}


def _filter(status: int, when: str = "") -> dict[str, Any]:
    expression = f"response.code == {status}"
    if when:
        expression += f" && {when}"
    return _expression(expression)


def _expression(expression: str) -> dict[str, Any]:
    return {
        "extension_filter": {
            "name": "cel",
            "typed_config": {
                "@type": f"{TYPES}access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": expression,
            },
        }
    }
