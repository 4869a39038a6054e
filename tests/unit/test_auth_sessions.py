from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.auth.domain.sessions import Client, Session
from services.auth.domain.signing_keys import KeyState, KeyTerm, KeyTimes, ends_at, signing, state
from services.auth.domain.slowdown import Patience
from services.auth.rpc.clients import client
from services.auth.settings import Settings
from services.kernel.caller import Caller, set_caller

NOW = datetime(2026, 11, 3, tzinfo=UTC)
TIMES = KeyTimes(publish=timedelta(minutes=5), tokens_live=timedelta(minutes=15))
SECONDS = timedelta(seconds=1)


def session(**changes: datetime) -> Session:
    return Session("s", "u", NOW, NOW + timedelta(days=30), "current", **changes)  # type: ignore[arg-type]


def test_a_session_lives_until_it_expires_or_is_ended() -> None:
    assert session().live(NOW + timedelta(days=30) - SECONDS)
    assert not session().live(NOW + timedelta(days=30))
    assert not session(revoked_at=NOW).live(NOW)


def test_signing_out_ends_what_began_before_and_nothing_else() -> None:
    assert session().outlives(None)
    assert session().outlives(NOW)
    assert not session().outlives(NOW + SECONDS)


def test_a_session_was_last_used_when_it_was_last_refreshed() -> None:
    assert session().last_used_at == NOW
    assert session(rotated_at=NOW + SECONDS).last_used_at == NOW + SECONDS


@pytest.mark.parametrize(
    ("agent", "kept"),
    [("Phone/2 (Ana)", "Phone/2 (Ana)"), ("a\x00b\x1b[31mc\n", "ab[31mc"), ("x" * 5000, "x" * 200), ("", "")],
)
def test_what_a_client_calls_itself_is_short_and_printable(agent: str, kept: str) -> None:
    set_caller(Caller(headers={"user-agent": agent, "x-client-address": "192.0.2.1"}))
    assert client() == Client("192.0.2.1", kept)


def test_a_call_that_did_not_come_through_the_gateway_has_no_address() -> None:
    set_caller(Caller(headers={"x-forwarded-for": "192.0.2.1"}))
    assert client() == Client()


@given(free=st.integers(1, 100), longest=st.integers(1, 900))
def test_waits_start_at_zero_grow_and_stop_growing(free: int, longest: int) -> None:
    pauses = Patience(free, longest * SECONDS).pauses()
    assert pauses[:free] == [timedelta(0)] * free
    assert pauses == sorted(pauses)
    assert pauses[free] <= SECONDS
    assert pauses[-1] == longest * SECONDS
    assert all(later <= 2 * sooner for sooner, later in zip(pauses[free:], pauses[free + 1 :], strict=False))


@st.composite
def rotations(draw: st.DrawFn) -> list[KeyTerm]:
    """Keys of which each was made when the one before signed already."""
    at, terms = NOW, [KeyTerm(1, "k1", NOW)]
    for generation in range(2, draw(st.integers(1, 6)) + 1):
        at += timedelta(seconds=draw(st.integers(0, 5000))) + TIMES.publish
        needed = draw(st.none() | st.integers(0, 20_000))
        term = KeyTerm(generation, f"k{generation}", at)
        terms.append(term if needed is None else KeyTerm(generation, term.kid, at, at + needed * SECONDS))
    return terms


@given(rotations(), st.integers(-500, 40_000))
def test_one_key_signs_and_no_key_ends_before_its_tokens(terms: list[KeyTerm], seconds: int) -> None:
    now = NOW + seconds * SECONDS
    states = {term.kid: state(term, terms, TIMES, now) for term in terms}
    assert list(states.values()).count(KeyState.SIGNING) == 1
    current = signing(terms, now)
    assert states[current.kid] is KeyState.SIGNING
    later = now + TIMES.tokens_live
    # A token signed now is verified for as long as it lives.
    end = ends_at(current, terms, TIMES)
    assert end is None or end >= later
    for term in terms:
        if term.needed_until is not None and now < term.needed_until:
            assert states[term.kid] is not KeyState.ENDED


@pytest.mark.parametrize(("publish", "sweep", "fine"), [(76, 15, True), (75, 15, False), (300, 240, False)])
def test_a_key_that_would_sign_before_it_is_known_stops_the_start(
    publish: int, sweep: int, fine: bool
) -> None:
    given: dict[str, Any] = {"mongo_url": "mongodb://m", "valkey_url": "redis://v", "key_file": "k"}
    given["sweep_seconds"] = sweep
    if fine:
        assert Settings(**given, key_publish_seconds=publish).key_publish_seconds == publish
    else:
        with pytest.raises(ValidationError, match="key_publish_seconds"):
            Settings(**given, key_publish_seconds=publish)
