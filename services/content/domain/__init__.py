"""What is true of a thought, whoever wrote it: the rules of its text, and what may be put right."""

from services.content.domain.briefs import Brief, Lexicon, Tongues
from services.content.domain.limits import LONGEST, LONGEST_VALUE, MOST_SENTENCES, SHORTEST
from services.content.domain.outcomes import (
    AnswersUnavailable,
    ContentRefused,
    ContentRulesNotMet,
    LanguageNotWritten,
    ModelRefused,
    ModelUnavailable,
    RecentNotesUnavailable,
    RoutineUnknown,
    SelfHarmRefused,
    ThoughtsUnavailable,
    ValueNotSpeakable,
    ValueTooLong,
)
from services.content.domain.repairs import repair
from services.content.domain.rests import Rest
from services.content.domain.routines import Routine
from services.content.domain.rules import Rule, Violation, keeps_rules, violations
from services.content.domain.topics import names_topic
from services.content.domain.values import mentions, normalise_value, words_around
from services.content.domain.words import (
    characters,
    fingerprint,
    first_sentence,
    fold,
    has_stop,
    primary_language,
    sentences,
    words_of,
)

__all__ = [
    "LONGEST",
    "LONGEST_VALUE",
    "MOST_SENTENCES",
    "SHORTEST",
    "AnswersUnavailable",
    "Brief",
    "ContentRefused",
    "ContentRulesNotMet",
    "LanguageNotWritten",
    "Lexicon",
    "ModelRefused",
    "ModelUnavailable",
    "RecentNotesUnavailable",
    "Rest",
    "Routine",
    "RoutineUnknown",
    "Rule",
    "SelfHarmRefused",
    "ThoughtsUnavailable",
    "Tongues",
    "ValueNotSpeakable",
    "ValueTooLong",
    "Violation",
    "characters",
    "fingerprint",
    "first_sentence",
    "fold",
    "has_stop",
    "keeps_rules",
    "mentions",
    "names_topic",
    "normalise_value",
    "primary_language",
    "repair",
    "sentences",
    "violations",
    "words_around",
    "words_of",
]
