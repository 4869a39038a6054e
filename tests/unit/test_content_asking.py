"""Who is asked for a note, how often, for how long, and what comes of it."""

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.content.asking import Note
from services.content.domain import (
    Brief,
    ContentRefused,
    ContentRulesNotMet,
    LanguageNotWritten,
    ModelRefused,
    ModelUnavailable,
    Routine,
)
from services.content.models.prompt import load_prompts
from tests.content_doubles import GOOD, LEXICON, OTHER, ScriptedModel, asking

BAD = "I woke up with Leo stuck in my head."
# Keeps every rule, and is nothing to be said.
FOUL = "I woke up with Leo stuck in my head, what a fucking morning, and even my tea is cold by now."
DOWN = ModelUnavailable("down", "connection")
BUSY = ModelUnavailable("busy", "rate_limited")


def brief(value: str = "Leo", language: str = "en") -> Brief:
    giveaways = LEXICON.giveaways(Routine.CUSTOM, language)
    return Brief(Routine.CUSTOM, value, language, "custom", giveaways)


async def anything(text: str) -> bool:
    return True


async def ask(*models: ScriptedModel, language: str = "en", budget_seconds: float = 5) -> Note:
    return await asking(*models, budget_seconds=budget_seconds).note(brief(language=language), anything)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_good_note_is_taken_from_the_first_model() -> None:
    assert await ask(ScriptedModel("a", GOOD), ScriptedModel("b")) == Note(GOOD, "a", ())


async def test_a_note_is_repaired_before_another_is_asked_for() -> None:
    model = ScriptedModel("a", f'Voice note: "{GOOD}"')
    assert (await ask(model)).text == GOOD
    assert len(model.asked) == 1


async def test_another_attempt_is_told_what_was_wrong() -> None:
    model = ScriptedModel("a", BAD, GOOD)
    await ask(model)
    assert model.asked[0].complaints == ()
    assert model.asked[1].complaints == ("It has 36 characters; 80 to 120 are allowed.",)


async def test_after_three_bad_notes_the_call_fails_and_no_other_model_is_asked() -> None:
    first, second = ScriptedModel("a", BAD, BAD, BAD), ScriptedModel("b", GOOD)
    with pytest.raises(ContentRulesNotMet):
        await ask(first, second)
    assert (len(first.asked), len(second.asked)) == (3, 0)


async def test_a_note_that_may_not_be_given_again_is_asked_for_anew() -> None:
    async def not_the_first(text: str) -> bool:
        return text != GOOD

    model = ScriptedModel("a", GOOD, GOOD, OTHER)
    assert (await asking(model).note(brief(), not_the_first)).text == OTHER
    assert model.asked[2].complaints == ("This very note was given before; write a different one.",)


async def test_a_broken_note_is_never_claimed() -> None:
    claimed = []

    async def claim(text: str) -> bool:
        claimed.append(text)
        return True

    await asking(ScriptedModel("a", BAD, GOOD)).note(brief(), claim)
    assert claimed == [GOOD]


async def test_what_must_not_be_said_is_asked_for_again_in_other_words() -> None:
    model = ScriptedModel("a", FOUL, GOOD)
    assert (await ask(model)).text == GOOD
    assert len(model.asked[1].complaints) == 1
    assert "fuck" not in model.asked[1].complaints[0]


async def test_a_model_that_only_says_what_must_not_be_said_is_refused() -> None:
    with pytest.raises(ContentRefused):
        await ask(ScriptedModel("a", FOUL, FOUL, FOUL), ScriptedModel("b", GOOD))


async def test_attempts_are_counted_by_what_became_of_them() -> None:
    outcomes = ("kept", "repaired", "rejected")
    before = [counted("content_note_attempts_total", model="counted", outcome=o) for o in outcomes]
    await ask(ScriptedModel("counted", BAD, f'"{GOOD}"'))
    await ask(ScriptedModel("counted", GOOD + "\n"))
    after = [counted("content_note_attempts_total", model="counted", outcome=o) for o in outcomes]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]
    assert counted("content_note_rejections_total", model="counted", rule="length") == 1
    assert counted("content_first_token_seconds_count", model="counted") == 3


async def test_an_unavailable_model_is_named_in_the_answer_the_log_and_the_metrics() -> None:
    before = counted("content_model_fallbacks_total", model="a", cause="connection")
    models = [ScriptedModel("a", DOWN), ScriptedModel("b", BAD, DOWN), ScriptedModel("c", GOOD)]
    with capture_logs() as logged:
        note = await ask(*models)
    assert (note.model, note.fallback_from) == ("c", ("a", "b"))
    silent = [event for event in logged if event["event"] == "model_unavailable"]
    assert [(event["model"], event["cause"]) for event in silent] == [
        ("a", "connection"),
        ("b", "connection"),
    ]
    assert counted("content_model_fallbacks_total", model="a", cause="connection") == before + 1


async def test_a_refusal_is_an_answer_and_not_a_fallback() -> None:
    second = ScriptedModel("b", GOOD)
    before = counted("content_model_refusals_total", model="a")
    with pytest.raises(ModelRefused):
        await ask(ScriptedModel("a", ModelRefused("no")), second)
    assert second.asked == []
    assert counted("content_model_refusals_total", model="a") == before + 1


async def test_when_every_model_is_down_the_caller_learns_it() -> None:
    with pytest.raises(ModelUnavailable):
        await ask(ScriptedModel("a", DOWN))


async def test_a_model_is_only_asked_for_languages_that_it_writes() -> None:
    first = ScriptedModel("a", GOOD, languages=("es", "it"))
    note = await ask(first, ScriptedModel("b", GOOD, languages=("en",)))
    assert (note.model, note.fallback_from) == ("b", ())
    assert first.asked == []


async def test_a_language_that_nobody_writes_is_refused_with_those_that_can_be_had() -> None:
    offline = ScriptedModel("offline", languages=("es", "en"))
    with pytest.raises(LanguageNotWritten, match="they can be in: en, es"):
        await ask(offline, language="nl")
    remote = ScriptedModel("gemini", languages=tuple(load_prompts().languages))
    with pytest.raises(LanguageNotWritten, match="they can be in: de, en, es, fr, it, ja, ko, pt, ru, zh"):
        await ask(remote, offline, language="nl")


async def test_a_model_that_is_down_is_the_reason_when_the_others_do_not_write_the_language() -> None:
    with pytest.raises(ModelUnavailable):
        await ask(ScriptedModel("a", DOWN, languages=("fr",)), ScriptedModel("b"), language="fr")


async def test_a_model_that_takes_too_long_hands_on_to_the_next() -> None:
    before = counted("content_model_fallbacks_total", model="slow", cause="timeout")
    note = await ask(ScriptedModel("slow", None, seconds=0.05), ScriptedModel("b", GOOD))
    assert (note.model, note.fallback_from) == ("b", ("slow",))
    assert counted("content_model_fallbacks_total", model="slow", cause="timeout") == before + 1


async def test_after_two_silences_in_a_row_nobody_waits_for_a_model_and_all_are_told() -> None:
    before = counted("content_model_fallbacks_total", model="silent", cause="resting")
    silent, second = ScriptedModel("silent", None, DOWN, seconds=0.05), ScriptedModel("b", *[GOOD] * 3)
    asked = asking(silent, second)
    with capture_logs() as logged:
        notes = [await asked.note(brief(), anything) for _ in range(3)]
    assert notes == [Note(GOOD, "b", ("silent",))] * 3
    assert len(silent.asked) == 2
    causes = [event["cause"] for event in logged if event["event"] == "model_unavailable"]
    assert causes == ["timeout", "connection", "resting"]
    assert counted("content_model_fallbacks_total", model="silent", cause="resting") == before + 1


async def test_a_model_that_says_no_at_once_is_asked_every_time() -> None:
    busy, second = ScriptedModel("a", *[BUSY] * 3), ScriptedModel("b", *[GOOD] * 3)
    asked = asking(busy, second)
    for _ in range(3):
        await asked.note(brief(), anything)
    assert len(busy.asked) == 3


async def test_a_model_that_others_left_no_time_is_not_taken_for_silent() -> None:
    """The first one takes 90 ms of a tenth of a second."""
    first, second = ScriptedModel("a", *[None] * 2, seconds=0.09), ScriptedModel("b", *[None] * 2, GOOD)
    asked = asking(first, second, ScriptedModel("offline", *[GOOD] * 2, seconds=None), budget_seconds=0.1)
    for _ in range(2):
        await asked.note(brief(), anything)
    assert (await asked.note(brief(), anything)).model == "b"


async def test_who_is_asked_last_is_asked_in_any_case() -> None:
    alone = ScriptedModel("a", DOWN, DOWN, GOOD)
    asked = asking(alone)
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await asked.note(brief(), anything)
    assert (await asked.note(brief(), anything)).text == GOOD


async def test_a_models_time_is_for_all_its_attempts_together() -> None:
    note = await ask(ScriptedModel("slow", BAD, None, seconds=0.05), ScriptedModel("b", GOOD))
    assert (note.model, note.fallback_from) == ("b", ("slow",))


async def test_when_the_whole_budget_is_spent_only_who_waits_for_nobody_is_asked() -> None:
    second = ScriptedModel("b", GOOD)
    models = (ScriptedModel("a", None), second, ScriptedModel("offline", GOOD, seconds=None))
    note = await ask(*models, budget_seconds=0.05)
    assert (note.model, note.fallback_from) == ("offline", ("a", "b"))
    assert second.asked == []


async def test_who_writes_on_and_on_is_not_read_to_the_end() -> None:
    model = ScriptedModel("a", GOOD * 1000, GOOD)
    assert (await ask(model)).text == GOOD
    read = int(model.asked[1].complaints[0].removeprefix("It has ").split()[0])
    assert 120 < read < 600


async def test_neither_value_nor_note_is_ever_logged() -> None:
    with capture_logs() as logged:
        await ask(ScriptedModel("a", BAD, FOUL, DOWN), ScriptedModel("b", GOOD))
    assert [event["event"] for event in logged] == ["note_rejected", "note_rejected", "model_unavailable"]
    assert "Leo" not in str(logged)
    assert "fuck" not in str(logged)
