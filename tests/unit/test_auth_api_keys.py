"""What is true of API keys, whoever asks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.api_keys import (
    SCOPES,
    TOKEN_LIVES,
    USE_NOTED_EVERY,
    ApiKey,
    digest_of,
    scopes_of,
)

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def key(expires_at: datetime | None = None, last_used_at: datetime | None = None) -> ApiKey:
    digest = digest_of("nvk_secret")
    return ApiKey("k-1", "ada", "shop", SCOPES, NOW, expires_at, "nvk_abc", digest, last_used_at)


@given(asked=st.lists(st.sampled_from([*SCOPES, "admin", ""])))
def test_a_key_has_a_scope_in_any_case_and_only_known_ones(asked: list[str]) -> None:
    scopes = scopes_of(tuple(asked))
    assert scopes
    assert set(scopes) <= set(SCOPES)
    assert not set(scopes) - set(asked) or not set(asked) & set(SCOPES)


@pytest.mark.parametrize(
    ("expires_at", "good"),
    [(None, True), (NOW + SECOND, True), (NOW, False), (NOW - SECOND, False)],
)
def test_a_key_is_good_until_its_end(expires_at: datetime | None, *, good: bool) -> None:
    assert key(expires_at).good_at(NOW) is good


@pytest.mark.parametrize(
    ("expires_at", "lives"),
    [(None, TOKEN_LIVES), (NOW + timedelta(days=1), TOKEN_LIVES), (NOW + SECOND, SECOND)],
)
def test_no_token_outlives_its_key(expires_at: datetime | None, lives: timedelta) -> None:
    assert key(expires_at).token_lives(NOW) == lives


@pytest.mark.parametrize(
    ("last_used_at", "news"),
    [(None, True), (NOW, False), (NOW - USE_NOTED_EVERY + SECOND, False), (NOW - USE_NOTED_EVERY, True)],
)
def test_a_use_is_news_once_in_a_while(last_used_at: datetime | None, *, news: bool) -> None:
    assert key(last_used_at=last_used_at).use_is_news(NOW) is news


def test_a_key_in_a_log_would_not_show_what_it_is_found_by() -> None:
    assert digest_of("nvk_secret") not in repr(key())
