"""A client's own files, answered by the gateway itself at `/`: read once, at start, from a directory."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from gateway.pages import LOOKED_AT, MOST_BYTES, no_transcoder
from gateway.replies import CLIENT

# Envoy holds all of it in memory. What is larger belongs to a server of files or a CDN.
_MOST_FILE_BYTES: Final = 16 << 20
_MOST_TOTAL_BYTES: Final = 64 << 20
_MOST_FILES: Final = 2000
_INDEX: Final = "index.html"
# The gateway's own; a file of that name would never be seen, or hide them.
RESERVED: Final = ("v1", "api", "user", "docs", "healthz", "livez")
_UNKNOWN: Final = "application/octet-stream"
# Not asked of the system, whose table differs from machine to machine.
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".webmanifest": "application/manifest+json",
    ".xml": "application/xml",
    ".wasm": "application/wasm",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".ico": "image/x-icon",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}


class ClientUnusable(ValueError):
    """The directory cannot be served; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class File:
    """One file, and the path below which it is asked for."""

    source: Path
    path: str
    content_type: str
    digest: str
    size: int

    @property
    def route_name(self) -> str:
        return f"{CLIENT} {self.content_type} {self.path}"


def read_client(directory: str) -> list[File]:
    """Every file of the directory; none when there is no directory to serve. Raises ClientUnusable."""
    if not directory:
        return []
    root = Path(directory).resolve()
    if not root.is_dir():
        raise ClientUnusable(f"client: there is no directory {directory}")
    files = [_read(root, path) for path in sorted(root.rglob("*")) if path.is_file() and _shown(root, path)]
    if not any(file.path == f"/{_INDEX}" for file in files):
        raise ClientUnusable(f"client: there is no {_INDEX} in {directory}")
    if len(files) > _MOST_FILES or sum(file.size for file in files) > _MOST_TOTAL_BYTES:
        most = f"{_MOST_FILES} files and {_MOST_TOTAL_BYTES >> 20} MiB"
        raise ClientUnusable(f"client: {directory} holds more than {most}")
    return files


def largest(files: list[File]) -> int:
    """What Envoy must be told to allow."""
    return max([MOST_BYTES, *(file.size for file in files)])


def client_routes(files: list[File]) -> Iterator[dict[str, Any]]:
    """Each file by its path, an index by its folder's, and the first page for every other address that a
    browser opens: such addresses are the client's own business."""
    for file in files:
        yield from _answers(file, {"path": file.path})
        if file.path.endswith(f"/{_INDEX}"):
            yield from _answers(file, {"path": file.path.removesuffix(_INDEX)})
    for file in files:
        if file.path == f"/{_INDEX}":
            page = {"name": "accept", "string_match": {"contains": "text/html"}}
            yield from _answers(file, {"prefix": "/", "headers": [page]})


def _shown(root: Path, path: Path) -> bool:
    """Hidden files are nobody's business, but for those that browsers look for."""
    within = path.relative_to(root).parts
    return not any(part.startswith(".") and part != ".well-known" for part in within)


def _read(root: Path, path: Path) -> File:
    within = path.relative_to(root)
    if not path.resolve().is_relative_to(root):
        raise ClientUnusable(f"client: {path} leads out of the directory")
    if within.parts[0] in RESERVED:
        raise ClientUnusable(f"client: {path} stands where the gateway has routes of its own")
    size = path.stat().st_size
    if size > _MOST_FILE_BYTES:
        raise ClientUnusable(f"client: {path} is larger than {_MOST_FILE_BYTES >> 20} MiB")
    # As browsers write it.
    asked = "/" + quote(within.as_posix(), safe="/~!$&'()*+,;=:@[]")
    digest = sha256(path.read_bytes()).hexdigest()[:32]
    return File(path, asked, _TYPES.get(path.suffix.lower(), _UNKNOWN), digest, size)


def _answers(file: File, match: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Not modified for who has it already, else the file."""
    has_it = {"name": "if-none-match", "string_match": {"contains": file.digest}}
    asked = [LOOKED_AT, *match.get("headers", [])]
    yield _answer(file, {**match, "headers": [*asked, has_it]}, {"status": 304})
    # Envoy gives an empty answer no content type, and browsers run no script without one.
    body = {"filename": str(file.source)} if file.size else {"inline_string": "\n"}
    yield _answer(file, {**match, "headers": asked}, {"status": 200, "body": body})


def _answer(file: File, match: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    headers = {
        "content-type": file.content_type,
        # Asked about each time and mostly not sent again: a name tells nothing of what is in the file.
        "cache-control": "no-cache",
        # Weak, because it may be sent compressed.
        "etag": f'W/"{file.digest}"',
        # Nobody else's page may lay itself over this one. What it loads and runs is the client's business.
        "content-security-policy": "frame-ancestors 'self'",
        # Addresses may name a memo, and other sites need the origin at most.
        "referrer-policy": "strict-origin-when-cross-origin",
    }
    return {
        "name": file.route_name,
        "match": match,
        "direct_response": response,
        "typed_per_filter_config": no_transcoder(),
        "response_headers_to_add": [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in headers.items()
        ],
    }
