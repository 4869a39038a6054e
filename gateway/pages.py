"""What the gateway answers by itself: the API's description, and a page to read it."""

import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from gateway.openapi import openapi
from gateway.replies import PAGES

# Above the document, which grows with the contracts; Envoy allows 4 KiB unless told.
MOST_BYTES: Final = 1 << 20
# Both, though edge.lua makes one of them: which filters a request meets is decided before.
LOOKED_AT: Final = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
_PAGE: Final = Path(__file__).with_name("docs.html")


def pages(descriptors: Path) -> Iterator[dict[str, Any]]:
    document = json.dumps(openapi(descriptors), ensure_ascii=False)
    yield _page("/v1/openapi.json", document, {})
    html = _PAGE.read_text()
    # Only the script and the style that are in the page itself, and only our own API.
    policy = (
        f"default-src 'none'; connect-src 'self'; script-src '{_digest(html, 'script')}';"
        f" style-src '{_digest(html, 'style')}'; base-uri 'none'; frame-ancestors 'none'"
    )
    yield _page(
        "/docs", html, {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    )


def _page(path: str, content: str, headers: dict[str, str]) -> dict[str, Any]:
    headers = {"cache-control": "public, max-age=300", **headers}
    name = f"GET {path}"
    headers = {**headers, "content-type": PAGES[name]}
    return {
        "name": name,
        "match": {"path": path, "headers": [LOOKED_AT]},
        "direct_response": {"status": 200, "body": {"inline_string": content}},
        "typed_per_filter_config": no_transcoder(),
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }


def no_transcoder() -> dict[str, Any]:
    """It would refuse what no method of a service answers."""
    disabled = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    return {"envoy.filters.http.grpc_json_transcoder": disabled}


def _digest(html: str, element: str) -> str:
    inside = html.split(f"<{element}>")[1].split(f"</{element}>", maxsplit=1)[0]
    return "sha256-" + b64encode(sha256(inside.encode()).digest()).decode()
