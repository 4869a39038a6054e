"""Who is asked, how often, and what a caller learns."""

from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from services.content.domain import (
    Brief,
    ContentRulesNotMet,
    LanguageNotWritten,
    ModelRefused,
    ModelUnavailable,
    RecentNotesUnavailable,
    RoutineUnknown,
    fingerprint,
)
from services.content.lexicon import load_lexicon
from services.content.usecases import Writing
from tests.contract.test_content_recent_notes import MemoryRecentNotes

LEXICON = load_lexicon()
GOOD = "I woke up with Leo stuck in my head, and it just won't let go of me, even now with my tea."
BAD = "I woke up with Leo stuck in my head."
DOWN = ModelUnavailable("down", "connection")


class ScriptedModel:
    """Answers from a list, and keeps what it was asked."""

    def __init__(self, name: str, *answers: str | Exception) -> None:
        self.name = name
        self.asked: list[Brief] = []
        self._answers = list(answers)

    async def compose(self, brief: Brief) -> str:
        self.asked.append(brief)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class ForgetfulNotes:
    async def of(self, user_id: str) -> frozenset[str]:
        raise RecentNotesUnavailable("gone")

    async def remember(self, user_id: str, fingerprint: str) -> None:
        raise RecentNotesUnavailable("gone")

    async def forget(self, user_id: str) -> int:
        raise RecentNotesUnavailable("Away.")


def writing(models: Sequence[ScriptedModel]) -> Writing:
    return Writing(models, LEXICON, MemoryRecentNotes())


async def test_a_good_note_is_taken_from_the_first_model() -> None:
    note = await writing([ScriptedModel("a", GOOD), ScriptedModel("b")]).compose_note(
        "custom", "Leo", "en-GB", "u1"
    )
    assert (note.text, note.model, note.fallback_from) == (GOOD, "a", ())


async def test_a_note_is_repaired_before_another_is_asked_for() -> None:
    model = ScriptedModel("a", f'Voice note: "{GOOD}"')
    note = await writing([model]).compose_note("custom", "Leo", "en", "u1")
    assert note.text == GOOD
    assert len(model.asked) == 1


async def test_another_attempt_is_told_what_was_wrong() -> None:
    model = ScriptedModel("a", BAD, GOOD)
    await writing([model]).compose_note("custom", "Leo", "en", "u1")
    assert model.asked[0].complaints == ()
    assert model.asked[1].complaints == ("It has 36 characters; 80 to 120 are allowed.",)


async def test_after_three_bad_notes_the_call_fails_and_no_other_model_is_asked() -> None:
    first, second = ScriptedModel("a", BAD, BAD, BAD), ScriptedModel("b", GOOD)
    with pytest.raises(ContentRulesNotMet):
        await writing([first, second]).compose_note("custom", "Leo", "en", "u1")
    assert (len(first.asked), len(second.asked)) == (3, 0)


async def test_an_unavailable_model_is_named_in_the_answer_and_in_the_log() -> None:
    models = [ScriptedModel("a", DOWN), ScriptedModel("b", BAD, DOWN), ScriptedModel("c", GOOD)]
    with capture_logs() as logged:
        note = await writing(models).compose_note("custom", "Leo", "en", "u1")
    assert (note.model, note.fallback_from) == ("c", ("a", "b"))
    silent = [event for event in logged if event["event"] == "model_unavailable"]
    assert [(event["model"], event["cause"]) for event in silent] == [
        ("a", "connection"),
        ("b", "connection"),
    ]


async def test_a_refusal_is_an_answer_and_not_a_fallback() -> None:
    second = ScriptedModel("b", GOOD)
    with pytest.raises(ModelRefused):
        await writing([ScriptedModel("a", ModelRefused("no")), second]).compose_note(
            "custom", "Leo", "en", "u1"
        )
    assert second.asked == []


async def test_when_every_model_is_down_the_caller_learns_it() -> None:
    with pytest.raises(ModelUnavailable):
        await writing([ScriptedModel("a", DOWN)]).compose_note("custom", "Leo", "en", "u1")


async def test_a_model_that_does_not_write_the_language_hands_on_to_one_that_does() -> None:
    models = [ScriptedModel("a", LanguageNotWritten("fr")), ScriptedModel("b", GOOD)]
    note = await writing(models).compose_note("custom", "Leo", "en", "u1")
    assert (note.model, note.fallback_from) == ("b", ())


async def test_a_model_that_is_down_is_the_reason_when_the_next_does_not_write_the_language() -> None:
    with pytest.raises(ModelUnavailable):
        await writing([ScriptedModel("a", DOWN), ScriptedModel("b", LanguageNotWritten("fr"))]).compose_note(
            "custom", "Leo", "fr", "u1"
        )


async def test_models_are_told_what_the_user_was_given_lately_and_nobody_elses_notes() -> None:
    model = ScriptedModel("a", GOOD, GOOD, GOOD)
    desk = writing([model])
    for user in ("u1", "u1", "u2"):
        await desk.compose_note("custom", "Leo", "en", user)
    assert [brief.avoid for brief in model.asked] == [frozenset(), {fingerprint(GOOD)}, frozenset()]


async def test_a_lost_memory_of_recent_notes_costs_no_note_and_is_logged() -> None:
    with capture_logs() as logged:
        note = await Writing([ScriptedModel("a", GOOD)], LEXICON, ForgetfulNotes()).compose_note(
            "custom", "Leo", "en", "u1"
        )
    assert note.text == GOOD
    assert sum(event["event"] == "recent_notes_unavailable" for event in logged) == 2


async def test_neither_value_nor_note_is_ever_logged() -> None:
    with capture_logs() as logged:
        await writing([ScriptedModel("a", BAD, DOWN), ScriptedModel("b", GOOD)]).compose_note(
            "custom", "Leo", "en", "u1"
        )
    assert len(logged) == 3
    assert "Leo" not in str(logged)


async def test_an_unknown_routine_is_refused() -> None:
    with pytest.raises(RoutineUnknown):
        await writing([]).compose_note("coins", "Leo", "en", "u1")


async def test_a_free_topic_is_forbidden_in_its_own_words() -> None:
    slip = GOOD.replace("my tea", "my lions")
    model = ScriptedModel("a", slip, GOOD)
    note = await writing([model]).generate_thought("Lion", "Leo", "", "u1")
    assert note.text == GOOD
    assert (model.asked[0].language, model.asked[0].topic) == ("en", "Lion")
