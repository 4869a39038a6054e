import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesis.engines.local.clauses import CLAUSE_CHARACTERS, Break, clauses

NOTE = "Good morning, it's me. I woke up with the Queen of Hearts in my head, and I really can't say why."
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=400)
SENTENCES = st.lists(
    st.sampled_from(
        ["morning", "the", "Mr.", "a.m.", "and", "hearts,", "head.", "why?", "—", "x" * 30, "y;"]
    ),
    min_size=1,
    max_size=80,
).map(" ".join)


@given(WORDS | SENTENCES)
def test_every_character_is_spoken_once_and_in_order(text: str) -> None:
    spoken = "".join(clause.text for clause in clauses(text))
    assert "".join(spoken.split()) == "".join(text.split())


@given(WORDS | SENTENCES)
def test_no_clause_is_empty_or_longer_than_the_longest(text: str) -> None:
    assert all(0 < len(clause.text) <= CLAUSE_CHARACTERS[-1] for clause in clauses(text))


@given(SENTENCES)
def test_the_first_clause_is_short_and_the_last_ends_a_sentence(text: str) -> None:
    cut = clauses(text)
    assert len(cut[0].text) <= CLAUSE_CHARACTERS[0]
    assert cut[-1].ends_with is Break.SENTENCE


def test_a_note_is_cut_where_a_speaker_breathes() -> None:
    assert [(clause.text, clause.ends_with) for clause in clauses(NOTE)] == [
        ("Good morning, it's me.", Break.SENTENCE),
        ("I woke up with the Queen of Hearts in my head,", Break.COMMA),
        ("and I really can't say why.", Break.SENTENCE),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Yesterday I met Mr. Smith at the station near the old bridge",
        "Hoy he visto al Sr. García en la calle mayor",
    ],
)
def test_a_full_stop_after_a_title_ends_nothing(text: str) -> None:
    assert all(not clause.text.endswith(("Mr.", "Sr.")) for clause in clauses(text))


def test_a_long_sentence_without_marks_breaks_before_a_small_word() -> None:
    first, second, *_ = clauses(
        "I kept thinking of the number seventeen while the train went through the hills"
    )
    assert first.text == "I kept thinking of the number seventeen"
    assert first.ends_with is Break.PHRASE
    assert second.text.startswith("while")


def test_a_stronger_mark_asks_for_a_longer_pause() -> None:
    ordered = [clauses(f"so it was{mark} " + "then " * 40)[0].pause_seconds for mark in (",", ";", ".")]
    assert ordered == sorted(ordered)
    assert len(set(ordered)) == 3


def test_nothing_is_cut_from_nothing() -> None:
    assert clauses(" \n ") == []
