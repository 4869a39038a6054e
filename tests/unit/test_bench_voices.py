"""What the likeness bench counts, and what it says where it cannot have its voices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.likeness import summed_up, table
from bench.listening import word_error_rate
from bench.voices import SPEAKERS, Speaker, VoicesNotFetched, halves, speakers

WORDS = st.lists(st.sampled_from(["one", "two", "three", "isn't"]), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("said", "heard", "rate"),
    [
        ("The queen of hearts.", "the Queen, of hearts", 0),
        ("The queen of hearts.", "the green of hearts", 0.25),
        ("The queen of hearts.", "the queen hearts", 0.25),
        ("The queen of hearts.", "", 1),
        ("Hearts.", "a heart so", 3),
    ],
)
def test_misheard_missing_and_invented_words_count(said: str, heard: str, rate: float) -> None:
    assert word_error_rate(said, heard) == pytest.approx(rate)


@given(WORDS, st.data())
def test_one_wrong_word_is_one_error(words: list[str], data: st.DataObject) -> None:
    wrong = list(words)
    wrong[data.draw(st.integers(0, len(words) - 1))] = "zebra"
    assert word_error_rate(" ".join(words), " ".join(wrong)) == pytest.approx(1 / len(words))


def test_the_summary_leaves_out_what_was_not_measured_for_all() -> None:
    summary = summed_up([{"e2_engine": 0.7, "wer": 0.1}, {"e2_engine": 0.8}])
    assert summary == {"e2_engine": {"mean": 0.75, "spread": 0.071}}


def test_the_table_has_a_row_for_each_voice_and_two_more() -> None:
    rows = table("en", {"june": {"e2_engine": 0.7}, "carlo": {"e2_engine": 0.8}}).splitlines()
    assert rows == [
        "| en | e2 engine |",
        "|---|---|",
        "| june | 0.70 |",
        "| carlo | 0.80 |",
        "| **mean** | 0.75 |",
        "| spread | 0.07 |",
    ]


def test_there_are_enough_people_of_both_sexes() -> None:
    assert len({speaker.person for speaker in SPEAKERS}) >= 6
    assert {speaker.sex for speaker in SPEAKERS} == {"f", "m"}
    assert len({speaker.name for speaker in SPEAKERS}) == len(SPEAKERS)


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(VoicesNotFetched, match="nobody"):
        speakers(["june", "nobody"])


def test_without_apt_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    absent = Speaker("x", "x", "en", "f", 8_000, "no-such-package", "*.wav")
    with pytest.raises(VoicesNotFetched, match=r"no apt.*unpack the package"):
        halves(absent)
