"""A few seeds of the performances' chaos; `./newvisions test --chaos` runs any number. Its judge, judged."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import samples
from tests.chaos.performances import checking, site
from tests.chaos.performances.history import Answer, Request
from tests.chaos.performances.run import play
from tests.e2e.hearing import marker, seconds

pytestmark = pytest.mark.slow
MEMO = {"charge": {"credits": 40}, "recording": {"text": "I woke up thinking of number 7."}}


@pytest.fixture(scope="module", params=["one", "many"])
async def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[site.Site]:
    async with site.opened(tmp_path_factory.mktemp("chaos"), request.param) as opened:
        yield opened


# Somebody is killed at some step of a performance, and something else happens at any moment.
SEED = 0


async def test_every_performance_has_one_outcome_and_is_paid_once(opened: site.Site, tmp_path: Path) -> None:
    figures = await play(opened, SEED, tmp_path)
    assert figures["good"] > 0
    assert figures["outages"]


def request(*answers: Answer, key: str = "k") -> Request:
    return Request("ada", "number 7", key, streamed=False, answers=list(answers))


def good(recording_id: str, audio: bytes = b"audio") -> Answer:
    return Answer(0.0, status=200, recording_id=recording_id, audio=audio)


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (request(good("a"), good("b")), "several outcomes"),
        (request(good("a"), good("a", b"other audio")), "several outcomes"),
        (request(good("a"), Answer(0.0, status=503)), "no outcome"),
        (request(Answer(0.0, lost=True)), "no outcome"),
        (request(Answer(0.0, status=500, error="INTERNAL"), good("a")), "answered 500"),
        (request(Answer(0.0, status=503, error="not our shape: b'x'"), good("a")), "not our shape"),
    ],
)
def test_a_request_without_one_honest_outcome_is_noticed(asked: Request, complaint: str) -> None:
    assert any(complaint in found for found in checking.of_request(asked))


def test_a_request_that_was_asked_until_it_was_answered_is_fine() -> None:
    asked = request(
        Answer(0.0, lost=True), Answer(0.0, status=503, error="PERFORM_BUSY"), good("a"), good("a")
    )
    assert not list(checking.of_request(asked))


@pytest.mark.parametrize(
    ("kept", "used", "asked", "complaint"),
    [
        ({"a": MEMO}, 80, request(good("a")), "was charged 80"),
        ({"a": MEMO}, 0, request(good("a")), "was charged 0"),
        ({"a": MEMO, "b": MEMO}, 80, request(good("a")), "was made 2 times"),
        ({"a": MEMO, "b": MEMO}, 80, request(good("a"), key=""), "was made 2 times"),
        ({}, 0, request(good("a")), "is not kept"),
        ({"a": MEMO}, 40, Request("ada", "number 8", "k", streamed=False), "nobody asked for"),
    ],
)
def test_books_that_do_not_agree_are_noticed(
    kept: dict[str, object], used: int, asked: Request, complaint: str
) -> None:
    was = checking.Before({"ada": 0}, {"ada": frozenset()})
    found = checking.of_books("ada", kept, [asked], was, used)  # type: ignore[arg-type]
    assert any(complaint in each for each in found)


def test_without_a_key_a_lost_answer_may_be_made_once_more() -> None:
    was = checking.Before({"ada": 0}, {"ada": frozenset()})
    asked = request(Answer(0.0, lost=True), good("b"), key="")
    assert not list(checking.of_books("ada", {"a": MEMO, "b": MEMO}, [asked], was, 80))


def test_audio_in_another_voice_or_cut_short_is_noticed() -> None:
    memo = samples.tone()
    lasts, tone = seconds(memo), marker(memo)
    whole, short = {"duration_seconds": lasts}, {"duration_seconds": lasts + 1}
    assert any("not its user's" in each for each in checking.of_audio("a", memo, whole, {tone + 10}))
    assert any("is said to last" in each for each in checking.of_audio("a", memo, short, {tone}))
