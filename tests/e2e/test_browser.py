"""The shipped client's way through the product, in a real browser: cookies, origins, aborts and sound.

The page is our own (tests/e2e/page) and is served by the gateway, as the shipped client is. Needs a Chromium:
skipped without one, unless asked for by name (`./newvisions test --browser`).
"""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from dev import chromium
from dev.performer import PASSWORD
from dev.stack import Stack
from tests.e2e.browser import Page, browsing
from tests.e2e.tortoise import SLOW

HASTE_MS = 300
# How the services are spread over processes is nothing that a browser could see.
pytestmark = pytest.mark.parametrize("stack", ["one"], indirect=True)


@pytest.fixture
async def page(stack: Stack) -> AsyncIterator[Page]:
    found = chromium.find()
    if found is None:
        pytest.skip(chromium.MISSING)
    async with browsing(found, stack.url) as opened:
        yield opened


@pytest.fixture
async def signed_in(page: Page, codes: Iterator[str]) -> Page:
    name = f"phone-{uuid4().hex[:12]}"
    account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    registered = await page.run("phone.register", {**account, "activationCode": next(codes)})
    assert registered["status"] == 200, registered
    logged_in = await page.run("phone.login", name, PASSWORD)
    assert logged_in["status"] == 200, logged_in
    return page


@pytest.fixture
async def voiced(signed_in: Page) -> Page:
    uploaded = await signed_in.run("phone.upload", "/sample.mp3")
    assert (uploaded["status"], uploaded["action"]) == ("ok", "created"), uploaded
    return signed_in


async def test_the_page_is_served_whole_and_complains_of_nothing(page: Page) -> None:
    assert await page.run("() => document.title") == "A performer's phone"
    assert await page.run("() => getComputedStyle(document.body).color") == "rgb(0, 80, 80)"
    assert await page.run("() => typeof phone") == "object"
    assert page.complaints == []


async def test_a_session_is_a_cookie_that_the_page_cannot_read(signed_in: Page) -> None:
    assert await signed_in.run("() => document.cookie") == ""
    settings = await signed_in.run("phone.settings")
    assert (settings["status"], settings["voice_language"]) == (200, "en")
    saved = await signed_in.run("phone.saveSettings", {"voice_language": "spanish", "background_volume": 0})
    assert (saved["voice_language"], saved["background_volume"]) == ("es", 0)
    assert not any("authorization" in map(str.lower, each["headers"]) for each in signed_in.requests)
    assert (await signed_in.run("phone.logout"))["status"] == 200
    refused = await signed_in.run("phone.settings")
    assert (refused["status"], refused["error"]) == (401, "UNAUTHENTICATED")


async def test_an_evening_from_the_sample_to_the_sound(voiced: Page) -> None:
    assert (await voiced.run("phone.voice"))["hasClone"] is True
    assert (await voiced.run("phone.touch"))["status"] == "ready"
    memo = await voiced.run("phone.perform", "cards", "Seven of Hearts")
    assert memo["status"] == 200, memo
    assert "Seven of Hearts" in memo["text"]
    assert (await voiced.run("phone.meta"))["charCount"] == memo["charCount"]

    (listed,) = await voiced.run("phone.list")
    assert listed["id"] == memo["recording_id"]
    shown = await voiced.run("() => document.querySelector('#recordings li').textContent")
    assert shown == f"{listed['title']}, {listed['date']}"

    heard = await voiced.run("phone.play", f"/api/audio/{memo['filename']}")
    assert heard["duration"] == pytest.approx(listed["duration_seconds"], abs=0.1)
    assert heard["loudness"] > 0.05
    assert (await voiced.run("phone.play", "/api/ambient/fan"))["loudness"] > 0.01
    assert "Alien" in (await voiced.run("phone.thought", "a film", "Alien"))["thought"]


async def test_what_a_phone_gave_up_is_there_when_it_asks_again_and_paid_once(voiced: Page) -> None:
    given_up = await voiced.run("phone.perform", "custom", SLOW, HASTE_MS)
    assert given_up["aborted"] is True, given_up
    memo = await voiced.run("phone.perform", "custom", SLOW)
    assert memo["status"] == 200, memo
    (listed,) = await voiced.run("phone.list")
    assert listed["id"] == memo["recording_id"]
    assert (await voiced.run("phone.meta"))["charCount"] == memo["charsUsedEffective"]
