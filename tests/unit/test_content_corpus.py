"""Hundreds of notes as models write them, most of them bad, each with the verdict that is expected."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.content.domain import Brief, Routine, repair, violations
from services.content.lexicon import load_lexicon

NOTES = Path(__file__).parent / "data" / "content_notes.jsonl"
LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "ru", "zh", "ja", "ko")
LEXICON = load_lexicon()


def notes() -> Iterator[dict[str, Any]]:
    for line in NOTES.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def brief(note: dict[str, Any]) -> Brief:
    routine = Routine(note["routine"])
    giveaways = LEXICON.giveaways(routine, note["language"])
    return Brief(routine, note["value"], note["language"], routine.value, giveaways)


def broken(text: str, note: dict[str, Any]) -> list[str]:
    return sorted(violation.rule.value for violation in violations(text, brief(note), LEXICON))


# One test for each language, not for each note: a run of hundreds of tiny tests costs more than it tells.
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_note_gets_its_verdict(language: str) -> None:
    wrong = []
    for note in notes():
        if note["language"] != language:
            continue
        mended = repair(note["text"], note["value"])
        if "repaired" in note:
            right = mended == note["repaired"] and broken(mended, note) == []
        else:
            right = broken(mended, note) == sorted(note["rules"])
        if not right:
            wrong.append((note["why"], note["text"], mended, broken(mended, note)))
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_repair_leaves_a_good_note_as_it_is(language: str) -> None:
    good = [note for note in notes() if note["language"] == language and note.get("rules") == []]
    assert good
    assert [repair(note["text"], note["value"]) for note in good] == [note["text"] for note in good]


def test_the_collection_is_as_large_and_varied_as_it_claims() -> None:
    found = list(notes())
    bad = [note for note in found if "repaired" in note or note["rules"]]
    assert len(bad) >= 300
    assert set(Counter(note["language"] for note in bad)) == set(LANGUAGES)
    assert min(Counter(note["language"] for note in bad).values()) >= 30
    named = {rule for note in bad for rule in note.get("rules", ())}
    assert named == {
        "length", "value_missing", "value_repeated", "topic_named", "sentences", "language", "list",
    }  # fmt: skip
