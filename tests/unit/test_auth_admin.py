"""What administrators may change, how it is told, and where a page goes on."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.accounts import User
from services.auth.domain.administration import ROLES, UserChanges, administers, roles_of
from services.auth.domain.errors import PageTokenInvalid
from services.auth.domain.paging import Place, cut, place_in

ADA = User("ada", "Ada", "ada@example.org", None, datetime(2026, 1, 1, tzinfo=UTC))


@given(st.lists(st.sampled_from(ROLES)))
def test_nobody_is_less_than_a_user_and_no_role_is_held_twice(asked: list[str]) -> None:
    roles = roles_of(asked)
    assert roles[0] == "user"
    assert set(roles) == {"user", *asked}
    assert len(roles) == len(set(roles))


def test_what_is_not_given_stays() -> None:
    assert UserChanges().applied_to(ADA) == ADA
    changed = UserChanges(monthly_limit=0, disabled=False).applied_to(ADA)
    assert (changed.monthly_limit, changed.disabled, changed.roles) == (0, False, ADA.roles)


def test_who_follows_the_plan_has_no_limit_of_their_own() -> None:
    limited = UserChanges(monthly_limit=7).applied_to(ADA)
    follows = UserChanges(follows_plan=True)
    assert follows.applied_to(limited) == ADA
    assert follows.told_of(limited) == {"monthly_limit_before": "7", "monthly_limit_after": ""}


def test_only_what_really_changes_is_told() -> None:
    changes = UserChanges(roles=("user", "admin"), disabled=False, monthly_limit=0)
    assert changes.told_of(ADA) == {
        "roles_before": "user",
        "roles_after": "user admin",
        "monthly_limit_before": "",
        "monthly_limit_after": "0",
    }


@pytest.mark.parametrize(
    ("changes", "does"),
    [
        (UserChanges(), False),
        (UserChanges(roles=("user", "operator")), False),
        (UserChanges(roles=("user", "admin")), True),
        (UserChanges(roles=("user", "admin"), disabled=True), False),
    ],
)
def test_an_administrator_has_the_role_and_may_sign_in(changes: UserChanges, *, does: bool) -> None:
    assert administers(changes.applied_to(ADA)) is does


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)),
    st.text(min_size=1, max_size=40),
)
def test_a_place_comes_back_from_its_token(at: datetime, thing_id: str) -> None:
    moment = at.replace(tzinfo=UTC, microsecond=at.microsecond // 1000 * 1000)
    assert place_in(Place(moment, thing_id).token) == Place(moment, thing_id)


@given(st.text(max_size=64))
def test_whatever_is_sent_as_a_token_is_a_place_or_refused(text: str) -> None:
    try:
        place = place_in(text)
    except PageTokenInvalid:
        return
    assert place is None or isinstance(place, Place)


@pytest.mark.parametrize(("there", "shown", "more"), [(0, 0, False), (3, 3, False), (4, 3, True)])
def test_a_page_has_a_token_only_when_there_is_more(there: int, shown: int, *, more: bool) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = [Place(start - timedelta(days=day), str(day)) for day in range(there)]
    page, token = cut(found, 3, lambda place: place)
    assert len(page) == shown
    assert bool(token) is more
    if more:
        assert place_in(token) == page[-1]
