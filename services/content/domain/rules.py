"""The rules of a note's text, whoever wrote it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from services.content.domain.blemishes import EMOJI, LABEL, LINE_BREAK, LISTED, MARKUP, QUOTE
from services.content.domain.briefs import Brief, Lexicon, Tongues
from services.content.domain.limits import LONGEST, MOST_SENTENCES, SHORTEST
from services.content.domain.topics import names_topic
from services.content.domain.values import MASK, mentions, words_around
from services.content.domain.words import characters, sentences

# A note is not in the language asked for when that is less likely than this. Around a long value few letters
# are left to judge by, and a wrong "no" costs a whole attempt: those must leave no doubt at all.
_UNLIKELY, _OUT_OF_THE_QUESTION = 0.03, 0.003
_ENOUGH_LETTERS = 30


class Rule(Enum):
    LENGTH = "length"
    VALUE_MISSING = "value_missing"
    VALUE_REPEATED = "value_repeated"
    TOPIC_NAMED = "topic_named"
    SENTENCES = "sentences"
    LANGUAGE = "language"
    LINE_BREAK = "line_break"
    LIST = "list"
    LABEL = "label"
    QUOTE = "quote"
    MARKUP = "markup"
    EMOJI = "emoji"
    # Given to the same user lately: only a memory can tell, so `violations` never does.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Violation:
    rule: Rule
    # A sentence for whoever writes the next attempt. It may quote the text, so it is never logged.
    complaint: str


_FORMS = (
    (Rule.LINE_BREAK, LINE_BREAK, "It has a line break; write it on one line."),
    (Rule.LIST, LISTED, "It reads like a list; write plain speech."),
    (Rule.LABEL, LABEL, "It begins with a label; write only what is said."),
    (Rule.QUOTE, QUOTE, "It has quotation marks; write plain speech without them."),
    (Rule.MARKUP, MARKUP, "It has markup; write plain speech."),
    (Rule.EMOJI, EMOJI, "It has an emoji; write plain speech."),
)


def violations(text: str, brief: Brief, lexicon: Lexicon) -> tuple[Violation, ...]:
    """Every rule that the text breaks, in the order of Rule."""
    around = words_around(text, brief.value)
    found = (
        _length(text),
        _value(text, brief.value),
        _topic(around, brief.giveaways),
        _sentence_count(around, brief.language),
        _language(around, brief.language, lexicon.tongues),
        *_forms(around),
    )
    return tuple(violation for violation in found if violation is not None)


def keeps_rules(text: str, brief: Brief, lexicon: Lexicon) -> bool:
    """Whether it breaks none. What costs least is looked at first, and the first broken rule decides."""
    if _length(text) or _value(text, brief.value):
        return False
    around = words_around(text, brief.value)
    return not (
        _sentence_count(around, brief.language)
        or any(_forms(around))
        or _topic(around, brief.giveaways)
        or _language(around, brief.language, lexicon.tongues)
    )


def _forms(around: str) -> Iterator[Violation]:
    return (Violation(rule, said) for rule, pattern, said in _FORMS if pattern.search(around))


def _length(text: str) -> Violation | None:
    length = characters(text)
    if SHORTEST <= length <= LONGEST:
        return None
    return Violation(Rule.LENGTH, f"It has {length} characters; {SHORTEST} to {LONGEST} are allowed.")


def _value(text: str, value: str) -> Violation | None:
    said = mentions(text, value)
    if said > 1:
        return Violation(Rule.VALUE_REPEATED, f"It says the value {said} times; say it exactly once.")
    if said == 0 or value not in text:
        return Violation(Rule.VALUE_MISSING, "It does not say the value exactly as it is written.")
    return None


def _topic(around: str, giveaways: frozenset[str]) -> Violation | None:
    named = names_topic(around, giveaways)
    if not named:
        return None
    return Violation(Rule.TOPIC_NAMED, f"It names the topic; do not use: {', '.join(named)}.")


def _sentence_count(around: str, language: str) -> Violation | None:
    count = sentences(around, language)
    if 1 <= count <= MOST_SENTENCES:
        return None
    return Violation(Rule.SENTENCES, f"It has {count} sentences; write one or two.")


def _language(around: str, language: str, tongues: Tongues) -> Violation | None:
    """Judged without the value, which may be in any language."""
    words = around.replace(MASK, " ")
    odds = tongues.odds(words)
    enough = sum(map(str.isalpha, words)) >= _ENOUGH_LETTERS
    if odds.get(language, 1) >= (_UNLIKELY if enough else _OUT_OF_THE_QUESTION):
        return None
    return Violation(Rule.LANGUAGE, f"It is not in the language asked for ({language}).")
