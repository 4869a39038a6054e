"""What a caller gets: notes that are not repeated, thoughts that may be kept, and nothing in the log."""

from collections.abc import AsyncGenerator
from random import Random

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.content.domain import (
    Brief,
    ContentRefused,
    ModelUnavailable,
    RoutineUnknown,
    ThoughtsUnavailable,
    fingerprint,
)
from services.content.models.offline import OfflineModel
from services.content.models.phrasebook import load_phrasebooks
from tests.content_doubles import (
    GOOD,
    LEXICON,
    OTHER,
    MemoryThoughts,
    NotesAway,
    OneLanguage,
    ScriptedModel,
    ThoughtsAway,
    writing,
)
from tests.contract.test_content_recent_notes import MemoryRecentNotes

DOWN = ModelUnavailable("down", "connection")


async def test_models_are_told_what_the_user_was_given_lately_and_nobody_elses_notes() -> None:
    model = ScriptedModel("a", GOOD, OTHER, GOOD)
    desk = writing(model)
    for user in ("u1", "u1", "u2"):
        await desk.compose_note("custom", "Leo", "en", user)
    assert [brief.avoid for brief in model.asked] == [frozenset(), {fingerprint(GOOD)}, frozenset()]


async def test_no_user_is_given_the_same_note_again_in_any_case_or_punctuation() -> None:
    again = GOOD.replace("it just", "It just").replace(", even", " — even")
    model = ScriptedModel("a", GOOD, again, OTHER, GOOD)
    desk = writing(model)
    notes = [(await desk.compose_note("custom", "Leo", "en-GB", "u1")).text for _ in range(2)]
    assert notes == [GOOD, OTHER]
    assert (await desk.compose_note("custom", "Leo", "en-GB", "u2")).text == GOOD


async def test_a_model_that_can_only_repeat_itself_is_asked_three_times_and_its_note_given_once_more() -> (
    None
):
    model = ScriptedModel("parrot", *[GOOD] * 4)
    desk = writing(model)
    for _ in range(2):
        assert (await desk.compose_note("custom", "Leo", "en", "u1")).text == GOOD
    assert len(model.asked) == 4
    labels = {"model": "parrot", "outcome": "repeated"}
    assert REGISTRY.get_sample_value("content_note_attempts_total", labels) == 1


async def test_who_has_had_every_note_that_a_long_value_leaves_room_for_is_given_one_of_them_again() -> None:
    desk = writing(OfflineModel(load_phrasebooks(), LEXICON, Random(1)))
    notes = [(await desk.compose_note("custom", "z" * 100, "en", "u1")).text for _ in range(60)]
    assert 5 < len(set(notes)) < 60


async def test_a_lost_memory_of_recent_notes_costs_no_note_and_is_logged() -> None:
    with capture_logs() as logged:
        desk = writing(ScriptedModel("a", GOOD), recent=NotesAway())
        note = await desk.compose_note("custom", "Leo", "en", "u1")
    assert note.text == GOOD
    assert sum(event["event"] == "recent_notes_unavailable" for event in logged) == 2


async def test_neither_value_nor_topic_nor_note_is_ever_logged() -> None:
    with capture_logs() as logged:
        desk = writing(ScriptedModel("a", DOWN), ScriptedModel("b", GOOD), keeps_thoughts=True)
        await desk.generate_thought("Lion", "Leo", "en", "u1")
    assert [event["event"] for event in logged] == ["model_unavailable", "note_composed"]
    assert "Leo" not in str(logged)
    assert "Lion" not in str(logged)


async def test_an_unknown_routine_is_refused() -> None:
    with pytest.raises(RoutineUnknown):
        await writing().compose_note("coins", "Leo", "en", "u1")


@pytest.mark.parametrize(("topic", "value"), [("animals", "shithead"), ("fuck", "Leo")])
async def test_what_must_not_be_said_never_reaches_a_model(topic: str, value: str) -> None:
    model = ScriptedModel("a", GOOD)
    with pytest.raises(ContentRefused), capture_logs() as logged:
        await writing(model).generate_thought(topic, value, "en", "u1")
    assert model.asked == []
    assert value not in str(logged)


async def test_a_free_topic_is_forbidden_in_its_own_words() -> None:
    slip = GOOD.replace("my tea", "my lions")
    model = ScriptedModel("a", slip, GOOD)
    note = await writing(model).generate_thought("Lion", "Leo", "en", "u1")
    assert note.text == GOOD
    assert (model.asked[0].language, model.asked[0].topic) == ("en", "Lion")


async def test_a_thought_without_a_language_is_in_that_of_who_asks() -> None:
    spanish = "Me desperté con Leo en la cabeza y no se me va, ni ahora con el café en la mano y todo."
    model = ScriptedModel("a", spanish, languages=("en", "es"))
    desk = writing(model, languages=OneLanguage("es-MX"))
    assert (await desk.generate_thought("animales", "Leo", "", "u1")).text == spanish
    assert model.asked[0].language == "es"


async def test_the_same_question_gets_the_kept_thought_and_says_so() -> None:
    model = ScriptedModel("a", GOOD)
    desk = writing(model, keeps_thoughts=True)
    answers = [await desk.generate_thought("animals", "Leo", "en", "u1") for _ in range(3)]
    assert [(answer.text, answer.model, answer.cached) for answer in answers] == [
        (GOOD, "a", False),
        (GOOD, "a", True),
        (GOOD, "a", True),
    ]
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "other",
    [("animals", "Leo", "en", "u2"), ("friends", "Leo", "en", "u1"), ("animals", "Mia", "en", "u1")],
)
async def test_another_question_gets_another_thought(other: tuple[str, str, str, str]) -> None:
    note = OTHER.replace("Leo", other[1])
    desk = writing(ScriptedModel("a", GOOD, note), keeps_thoughts=True)
    await desk.generate_thought("animals", "Leo", "en", "u1")
    answer = await desk.generate_thought(*other)
    assert (answer.text, answer.cached) == (note, False)


async def test_notes_of_a_performance_are_not_kept_unless_that_is_wanted() -> None:
    thoughts = MemoryThoughts()
    desk = writing(ScriptedModel("a", GOOD, OTHER), thoughts=thoughts, keeps_thoughts=True)
    for expected in (GOOD, OTHER):
        note = await desk.compose_note("custom", "Leo", "en", "u1")
        assert (note.text, note.cached) == (expected, False)
    wanted = writing(ScriptedModel("a", GOOD), thoughts=thoughts, keeps_notes=True)
    for cached in (False, True):
        assert (await wanted.compose_note("custom", "Leo", "en", "u1")).cached is cached


async def test_what_a_stand_in_wrote_is_not_kept() -> None:
    desk = writing(ScriptedModel("a", DOWN, OTHER), ScriptedModel("b", GOOD), keeps_thoughts=True)
    first = await desk.generate_thought("animals", "Leo", "en", "u1")
    second = await desk.generate_thought("animals", "Leo", "en", "u1")
    assert [(n.model, n.fallback_from, n.cached) for n in (first, second)] == [
        ("b", ("a",), False),
        ("a", (), False),
    ]


async def test_a_lost_cache_costs_no_thought_and_is_logged() -> None:
    desk = writing(ScriptedModel("a", GOOD), thoughts=ThoughtsAway(), keeps_thoughts=True)
    with capture_logs() as logged:
        assert (await desk.generate_thought("animals", "Leo", "en", "u1")).text == GOOD
    assert [event["step"] for event in logged if event["event"] == "thoughts_unavailable"] == [
        "read",
        "write",
    ]


async def test_a_forgotten_user_has_no_notes_and_no_thoughts_left() -> None:
    desk = writing(ScriptedModel("a", GOOD, GOOD), keeps_thoughts=True)
    await desk.generate_thought("animals", "Leo", "en", "u1")
    erasure = "0b0e7a9c-6f3e-4a53-9a52-6f0f1c5b0a51"
    assert await desk.forget("u1", erasure) == {"recent_notes": 1, "thoughts": 1, "answers": 0}
    assert await desk.forget("u1", erasure) == {"recent_notes": 0, "thoughts": 0, "answers": 0}
    assert (await desk.generate_thought("animals", "Leo", "en", "u1")).cached is False


async def test_a_thought_that_is_being_written_while_its_user_is_erased_leaves_nothing() -> None:
    class Erasing(ScriptedModel):
        async def write(self, brief: Brief) -> AsyncGenerator[str, None]:
            await desk.forget("u1", "an erasure")
            yield GOOD

    recent, thoughts = MemoryRecentNotes(), MemoryThoughts()
    desk = writing(Erasing("a"), recent=recent, thoughts=thoughts, keeps_thoughts=True)
    assert (await desk.generate_thought("animals", "Leo", "en", "u1")).text == GOOD
    assert await desk.forget("u1", "again") == {"recent_notes": 0, "thoughts": 0, "answers": 0}


async def test_an_erasure_that_is_not_certain_fails() -> None:
    with pytest.raises(ThoughtsUnavailable):
        await writing(thoughts=ThoughtsAway()).forget("u1", "an erasure")
