"""A client's own files, served at / by the gateway, and never in the way of a route."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.client import ClientUnusable, read_client
from tests.integration.gateway_envoy import gateway, until_ready
from tests.integration.gateway_stage import Stage, bearer

PAGE = "<!doctype html><title>memos</title>" + "<p>one more line of it</p>" * 100
PICTURE = bytes(range(256)) * 9000
SCRIPT = "export const greeting = 'olé';\n" * 100
OPENED = {"accept": "text/html,application/xhtml+xml"}


def build(root: Path) -> Path:
    files: dict[str, bytes] = {
        "index.html": PAGE.encode(),
        "assets/app.js": SCRIPT.encode(),
        "assets/two words.css": b"p { color: teal }",
        "picture.png": PICTURE,
        "empty.js": b"",
        "help/index.html": b"<!doctype html>help",
        "data.unheard-of": b"?",
        ".git/config": b"hidden",
        ".well-known/assetlinks.json": b"[]",
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture(scope="module")
async def http(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    directory = build(tmp_path_factory.mktemp("client"))
    async with Stage().playing() as stage, gateway(stage, client=str(directory)) as client:
        await until_ready(client)
        yield client


@pytest.mark.parametrize(
    ("path", "content_type", "content"),
    [
        ("/", "text/html; charset=utf-8", PAGE.encode()),
        ("/index.html", "text/html; charset=utf-8", PAGE.encode()),
        ("/?utm=1", "text/html; charset=utf-8", PAGE.encode()),
        ("/assets/app.js", "text/javascript; charset=utf-8", SCRIPT.encode()),
        ("/assets/two%20words.css", "text/css; charset=utf-8", b"p { color: teal }"),
        ("/picture.png", "image/png", PICTURE),
        ("/empty.js", "text/javascript; charset=utf-8", b"\n"),
        ("/help/", "text/html; charset=utf-8", b"<!doctype html>help"),
        ("/data.unheard-of", "application/octet-stream", b"?"),
        ("/.well-known/assetlinks.json", "application/json", b"[]"),
    ],
)
async def test_a_file_arrives_as_it_is(
    http: httpx.AsyncClient, path: str, content_type: str, content: bytes
) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, content_type)
    assert answer.content == content
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/picture.png", "/assets/app.js"])
async def test_who_has_a_file_already_is_told_that_it_is_the_same(http: httpx.AsyncClient, path: str) -> None:
    etag = (await http.get(path)).headers["etag"]
    again = await http.get(path, headers={"if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = await http.get(path, headers={"if-none-match": 'W/"another"'})
    assert other.status_code == 200


async def test_an_address_of_the_clients_own_opens_its_first_page(http: httpx.AsyncClient) -> None:
    opened = await http.get("/recordings/17", headers=OPENED)
    assert (opened.status_code, opened.text) == (200, PAGE)
    missing = await http.get("/assets/gone.js")
    assert (missing.status_code, missing.json()["error"]) == (404, "ROUTE_NOT_FOUND")


@pytest.mark.parametrize("path", ["/v1/nothing", "/api/nothing", "/user/nothing", "/v1", "/docs/more"])
async def test_the_client_never_answers_for_a_route(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path, headers=OPENED)
    assert (answer.status_code, answer.json()["error"]) == (404, "ROUTE_NOT_FOUND")


async def test_every_route_still_answers(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz", headers=OPENED)).json() == {"status": "ok"}
    assert (await http.get("/livez", headers=OPENED)).json() == {"status": "ok"}
    assert "New Visions" in (await http.get("/docs", headers=OPENED)).text
    assert (await http.get("/v1/openapi.json")).json()["openapi"].startswith("3.1")
    assert (await http.get("/api/health", headers=OPENED)).json() == {"status": "ok"}
    assert (await http.get("/v1/recordings", headers={**OPENED, **bearer()})).status_code == 200
    assert (await http.get("/v1/recordings", headers=OPENED)).status_code == 401


OUTSIDE = (
    "/../../etc/passwd",
    "/assets/../../secret",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/.git/config",
    "/assets",
)


@pytest.mark.parametrize("path", OUTSIDE)
async def test_nothing_but_the_files_can_be_asked_for(http: httpx.AsyncClient, path: str) -> None:
    as_written = http.base_url.copy_with(raw_path=path.encode())
    assert (await http.get(as_written)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/recordings/17", "/help/", "/assets/app.js"])
async def test_the_client_stands_in_no_frame_of_others_and_its_addresses_stay_with_it(
    http: httpx.AsyncClient, path: str
) -> None:
    first = await http.get(path, headers=OPENED)
    again = await http.get(path, headers={**OPENED, "if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    for answer in (first, again):
        assert answer.headers["referrer-policy"] == "strict-origin-when-cross-origin"
        # No word of scripts, styles or origins: a client that worked goes on working.
        assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"


async def test_a_file_is_not_written_to_and_can_be_looked_at(http: httpx.AsyncClient) -> None:
    assert (await http.post("/index.html", content=b"x")).status_code == 404
    head = await http.head("/picture.png")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(PICTURE)), b"")
    assert (await http.head("/docs")).status_code == 200


async def test_text_is_sent_compressed_to_who_asks(http: httpx.AsyncClient) -> None:
    for path in ("/", "/assets/app.js"):
        assert (await http.get(path)).headers["content-encoding"] == "gzip"
        plain = await http.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.headers["etag"] == (await http.get(path)).headers["etag"]


def test_a_directory_that_cannot_be_served_is_refused_in_one_line(tmp_path: Path) -> None:
    def refused(directory: Path) -> str:
        with pytest.raises(ClientUnusable) as refusal:
            read_client(str(directory))
        (line,) = str(refusal.value).splitlines()
        return line

    assert "there is no directory" in refused(tmp_path / "missing")
    assert "there is no index.html" in refused(tmp_path)
    hidden = build(tmp_path / "hidden")
    (hidden / "api").mkdir()
    (hidden / "api/users.json").write_text("[]")
    assert "routes of its own" in refused(hidden)
    leading_out = build(tmp_path / "leading-out")
    (leading_out / "passwords.txt").symlink_to("/etc/passwd")
    assert "leads out of the directory" in refused(leading_out)
    too_large = build(tmp_path / "too-large")
    with (too_large / "film.mp4").open("wb") as film:
        film.truncate((16 << 20) + 1)
    assert "larger than 16 MiB" in refused(too_large)


def test_a_folder_of_nothing_is_no_client() -> None:
    assert read_client("") == []
