"""A first sentence that is spoken while the second is still being written, and what can come of it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.content.asking import Note
from services.content.domain import (
    Brief,
    ContentRulesNotMet,
    ModelRefused,
    ModelUnavailable,
    Routine,
    fingerprint,
    first_sentence,
    violations,
)
from services.content.models.endings import PhrasebookEndings
from services.content.models.phrasebook import LANGUAGES, load_phrasebooks
from services.content.opening import Opening
from tests.content_doubles import ENDINGS, FILTERS, GOOD, LEXICON, ScriptedModel, asking, writing
from tests.contract.test_content_recent_notes import MemoryRecentNotes

FIRST = "I woke up with Leo stuck in my head, no idea why."
# The value comes later.
SILENT = "It's so quiet here that I can hear the kettle."
REST = " It is still with me now that the tea is ready."
DOWN = ModelUnavailable("down", "connection")
REFUSED = ModelRefused("no")


class Pen:
    """Writes piece by piece; an exception is raised, an event waited for."""

    name, languages, seconds = "pen", frozenset({"en", "zh"}), 5.0

    def __init__(self, *script: str | Exception | asyncio.Event) -> None:
        self._script = script
        self.asked = 0

    async def write(self, brief: Brief) -> AsyncGenerator[str, None]:
        self.asked += 1
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, asyncio.Event):
                await step.wait()
            else:
                yield step


def brief(value: str = "Leo", language: str = "en", avoid: frozenset[str] = frozenset()) -> Brief:
    giveaways = LEXICON.giveaways(Routine.CUSTOM, language)
    return Brief(Routine.CUSTOM, value, language, "custom", giveaways, avoid)


async def anything(text: str) -> bool:
    return True


async def ask(
    model: Pen | ScriptedModel, about: Brief | None = None, budget_seconds: float = 5
) -> tuple[Note, list[str]]:
    """The note, and what was let go of it before."""
    gone: list[str] = []
    note = await asking(model, budget_seconds=budget_seconds).note(about or brief(), anything, gone.append)
    return note, gone


async def test_a_first_sentence_is_let_go_while_the_second_is_still_being_written() -> None:
    written = asyncio.Event()
    async with aclosing(
        writing(Pen(FIRST, REST[:12], written, REST[12:])).stream_note("custom", "Leo", "en", "u1")
    ) as pieces:
        assert await anext(pieces) == FIRST
        written.set()
        assert await anext(pieces) == Note(FIRST + REST, "pen")


async def test_a_note_that_is_there_at_once_is_one_piece() -> None:
    model = ScriptedModel("offline", FIRST + REST, seconds=None)
    async with aclosing(writing(model).stream_note("custom", "Leo", "en", "u1")) as pieces:
        assert [piece async for piece in pieces] == [Note(FIRST + REST, "offline")]


@pytest.mark.parametrize(
    "first",
    [
        "Well. ",
        "I woke up with the kettle on my mind, Leo, and Leo. ",
        "I woke up with my custom of Leo on my mind again. ",
        "I woke up with Leo stuck in my head, what a fucking morning. ",
        "Me he despertado esta mañana con Leo en la cabeza otra vez. ",
    ],
    ids=["too short", "said twice", "names the topic", "must not be said", "another language"],
)
async def test_what_could_break_a_rule_is_not_let_go(first: str) -> None:
    gone: list[str] = []
    model = ScriptedModel("a", first + "It is still here.", GOOD)
    assert (await asking(model).note(brief(), anything, gone.append)).text == GOOD
    assert gone == []


@pytest.mark.parametrize("value", ["Who? Me!", "Crazy. Stupid. Love", "Mr. Nobody"])
async def test_a_value_with_a_stop_in_it_is_written_to_its_end_first(value: str) -> None:
    note = f"I woke up with {value} on my mind, and it is still here. I should get up and see about the tea."
    told, gone = await ask(Pen(note[:60], note[60:]), brief(value))
    assert (told.text, gone) == (note, [])


@pytest.mark.parametrize("first", [FIRST, SILENT], ids=["with the value", "without it"])
@pytest.mark.parametrize(
    ("then", "cause"),
    [
        ((DOWN,), "connection"),
        ((REFUSED,), "content_refused"),
        ((" And then",), "content_rules_not_met"),
        ((" It was Leo, and Leo, and Leo again.",), "content_rules_not_met"),
        ((" What a fucking morning this is, what with Leo and all the tea.",), "content_refused"),
        ((asyncio.Event(),), "timeout"),
    ],
    ids=["broke off", "refused", "too short", "said again", "must not be said", "silent"],
)
async def test_what_was_let_go_stays_and_code_ends_the_note(
    first: str, then: tuple[str | Exception | asyncio.Event, ...], cause: str
) -> None:
    before = REGISTRY.get_sample_value("content_note_endings_total", {"model": "pen", "cause": cause}) or 0
    model = Pen(first + " It", *then)
    with capture_logs() as logged:
        note, gone = await ask(model, budget_seconds=0.3)
    assert gone == [first]
    assert note.text.startswith(first)
    assert violations(note.text, brief(), LEXICON) == ()
    assert (note.model, note.ended_by, model.asked) == ("pen", "phrasebook", 1)
    after = REGISTRY.get_sample_value("content_note_endings_total", {"model": "pen", "cause": cause})
    assert after == before + 1
    assert "Leo" not in str(logged)


async def test_an_ending_that_was_given_lately_is_replaced_and_the_beginning_stays() -> None:
    recent = MemoryRecentNotes()
    notes = set()
    for _ in range(3):
        pieces = writing(Pen(FIRST + " It", REST[3:]), recent=recent).stream_note("custom", "Leo", "en", "u1")
        async with aclosing(pieces):
            *_, last = [piece async for piece in pieces]
        assert isinstance(last, Note)
        assert last.text.startswith(FIRST)
        notes.add(last.text)
    assert len(notes) == 3


async def test_when_no_ending_may_be_given_no_other_model_begins_another_note() -> None:
    async def nothing(text: str) -> bool:
        return False

    other, gone = ScriptedModel("b", GOOD), list[str]()
    with pytest.raises(ContentRulesNotMet):
        await asking(Pen(FIRST + " It", DOWN), other).note(brief(), nothing, gone.append)
    assert (gone, other.asked) == ([FIRST], [])


async def test_where_nobody_could_end_a_note_its_beginning_waits() -> None:
    """There is no phrasebook for Chinese."""
    first = "今天早上一睁开眼睛，脑子里冒出来的就是狮子座，也不知道为什么，躺在床上想了好半天。"
    with pytest.raises(ModelUnavailable):
        await ask(Pen(first, "现在", DOWN), brief("狮子座", "zh"))


async def test_whoever_does_not_listen_any_more_stops_the_writing() -> None:
    stopped = asyncio.Event()

    class Endless(Pen):
        async def write(self, brief: Brief) -> AsyncGenerator[str, None]:
            try:
                yield FIRST + " It"
                await asyncio.Event().wait()
            finally:
                stopped.set()

    async with aclosing(writing(Endless()).stream_note("custom", "Leo", "en", "u1")) as pieces:
        await anext(pieces)
    assert stopped.is_set()


async def test_a_repaired_beginning_is_what_the_note_begins_with() -> None:
    note, gone = await ask(Pen(f'Voice note: "{FIRST}', REST, '"'))
    assert (note.text, gone) == (FIRST + REST, [FIRST])


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 20), max_size=30), rest=st.sampled_from([REST, " Mr. Leo. Ok.", " Hm", ""])
)
def test_however_a_note_is_cut_what_was_let_go_is_how_it_begins(cuts: list[int], rest: str) -> None:
    whole, pieces = FIRST + rest, []
    for cut in cuts:
        pieces.append(whole[:cut])
        whole = whole[cut:]
    try:
        note, gone = asyncio.run(ask(Pen(*filter(None, [*pieces, whole]))))
    except ContentRulesNotMet:
        # Nothing was let go, so another attempt was due, which this pen does not make.
        return
    assert all(note.text.startswith(each) for each in gone)
    assert violations(note.text, brief(), LEXICON) == ()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("length", [30, 45, 60, 79])
def test_every_language_with_a_phrasebook_can_end_what_a_model_began(language: str, length: int) -> None:
    """By what it composes itself, cut to a first sentence of that length and more."""
    words = {
        "en": "I woke up with Leo on my mind and I could see it all the way to the kettle and back to bed",
        "es": "Me desperté con Leo en la cabeza y la verdad es que no sé por qué me pasa esto por la mañana",
        "fr": "Je me suis réveillé avec Leo en tête et je ne sais vraiment pas pourquoi ça reste là ce matin",
        "de": "Ich bin heute mit Leo im Kopf aufgewacht und weiß wirklich nicht warum das so bleibt heute",
        "it": "Mi sono svegliato con Leo in testa e davvero non so perché questa cosa resta qui con me",
        "pt": "Acordei com Leo na cabeça e não sei mesmo por que é que isto fica aqui comigo logo de manhã",
    }[language]
    opening = words[:length].rsplit(" ", 1)[0] + "."
    about = brief("Leo", language)
    found = next(ENDINGS.of(opening, about), None)
    assert found is not None, opening
    assert found.startswith(opening)
    FILTERS.check_output(found, about)


def test_endings_are_none_of_those_given_lately() -> None:
    endings = PhrasebookEndings(load_phrasebooks(), LEXICON, Random(1))
    first = next(endings.of(FIRST, brief()))
    again = set(endings.of(FIRST, brief(avoid=frozenset({fingerprint(first)}))))
    assert first not in again
    assert again


class CountingEar:
    """Tells languages apart as ever, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = list[str]()

    def odds(self, text: str) -> Mapping[str, float]:
        self.asked.append(text)
        return LEXICON.tongues.odds(text)


class CountingChance(Random):
    draws = 0

    def getrandbits(self, k: int, /) -> int:
        self.draws += 1
        return super().getrandbits(k)


@pytest.mark.parametrize("first", [FIRST, SILENT], ids=["with the value", "without it"])
def test_a_first_sentence_goes_as_soon_as_one_ending_is_found(first: str) -> None:
    """Whoever waits for the first sound waits for this: nothing is judged twice, or for nothing."""
    ear, chance = CountingEar(), CountingChance(3)
    lexicon = replace(LEXICON, tongues=ear)
    endings = PhrasebookEndings(load_phrasebooks(), lexicon, chance)
    gone = list[str]()
    opening = Opening(brief(), lexicon, lambda text: endings.of(text, brief()), gone.append)
    assert opening.goes(first + " It")
    assert gone == [first]
    assert len(ear.asked) == 2
    assert chance.draws <= 10


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("I woke up. Then I", "I woke up."),
        ("I woke up.", ""),
        ("I woke up. ", ""),
        ("I met Dr. Who again", ""),
        ("Good night, i.e. no sleep", ""),
        ("Well... so what. And", "Well... so what."),
        ("今天早上。现在", "今天早上。"),
        ("", ""),
    ],
)
def test_a_first_sentence_is_one_when_another_has_begun(text: str, first: str) -> None:
    assert first_sentence(text, "en") == first
