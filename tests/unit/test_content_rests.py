"""Who does not answer is left alone for a while, and asked again by one."""

from services.content.domain import Rest


def failing(rest: Rest, *moments: float) -> Rest:
    for now in moments:
        rest.failed(rest.asked(now), now)
    return rest


def test_one_failure_is_nothing_and_the_second_in_a_row_begins_a_rest() -> None:
    rest = failing(Rest(), 100)
    assert rest.over(100)
    failing(rest, 104)
    assert [rest.over(now) for now in (104, 118.9, 119)] == [False, False, True]


def test_an_answer_in_between_begins_the_count_anew() -> None:
    rest = failing(Rest(), 100)
    rest.answered()
    assert failing(rest, 104).over(104)


def test_after_a_rest_one_asks_and_the_others_go_on_without() -> None:
    rest = failing(Rest(), 100, 104)
    rest.asked(119)
    assert not rest.over(119)
    rest.answered()
    assert rest.over(119)


def test_who_asks_after_a_rest_and_leaves_without_an_answer_is_followed_by_another() -> None:
    rest = failing(Rest(), 100, 104)
    rest.asked(119)
    assert [rest.over(133.9), rest.over(134)] == [False, True]


def test_each_further_failure_doubles_the_rest_up_to_a_minute() -> None:
    rest, now, rests = failing(Rest(), 0, 0), 0.0, list[float]()
    for _ in range(4):
        began = now
        while not rest.over(now):
            now += 0.5
        rests.append(now - began)
        failing(rest, now)
    assert rests == [15, 30, 60, 60]


def test_calls_that_fail_together_begin_one_rest() -> None:
    rest = Rest()
    asked = [rest.asked(0) for _ in range(10)]
    for each in asked:
        rest.failed(each, 4)
    assert rest.over(19)
