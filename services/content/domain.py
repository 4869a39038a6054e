"""What is true of a thought, whoever wrote it: the rules of its text, and what may be put right."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from hashlib import sha256

import regex  # type: ignore[import-untyped]

from services.kernel.errors import Kind, ServiceError

SHORTEST, LONGEST = 80, 120
# A note that mentions a value needs a few words of its own: "I woke up thinking".
LONGEST_VALUE = LONGEST - 20
MOST_SENTENCES = 2

# Stands for the value while the words around it are judged.
_VALUE = "\N{OBJECT REPLACEMENT CHARACTER}"
_WORD = r"[\p{L}\p{M}\p{N}_]"
_WORDS = regex.compile(r"[\p{L}\p{M}\p{N}]+")
_SENTENCE_END = regex.compile(r"[。！？]+\s*|[.!?…]+(?:\s+|$)")
_DOUBLE_QUOTES = '"“”„‟«»‹›「」'
# An apostrophe has a letter, or the value, on both sides.
_SINGLE_QUOTE = rf"(?<![\p{{L}}\p{{M}}\p{{N}}{_VALUE}])['‘’]|['‘’](?![\p{{L}}\p{{M}}\p{{N}}{_VALUE}])"
_QUOTE = regex.compile(rf"[{_DOUBLE_QUOTES}]|{_SINGLE_QUOTE}")
_LABEL = regex.compile(r"^\s*(?:[\p{L}\p{M}\p{N}'’-]+\s*){1,5}:(?=\s|$)\s*")
_BULLET = regex.compile(r"^\s*(?:[-–—•·‣]+|\d{1,2}[.)])\s+")
_MARKUP = regex.compile(r"[*_`#~|<>\[\]{}\\]")
_EMOJI = regex.compile(r"[\p{Extended_Pictographic}\p{Emoji_Presentation}\p{Regional_Indicator}\uFE0F\u20E3]")
_LINE_BREAK = regex.compile(r"[\p{Cc}\p{Zl}\p{Zp}]")
_SPACES = regex.compile(r"[\s\p{Cc}\p{Zl}\p{Zp}]+")
_UNSPEAKABLE = regex.compile(r"[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]")
_SPEAKABLE = regex.compile(r"[\p{L}\p{N}\p{P}\p{S}]")


class Routine(StrEnum):
    CARDS = "cards"
    NUMBERS = "numbers"
    STAR_SIGNS = "star-signs"
    TEXT_INPUT = "text-input"
    PHOBIAS = "phobias"
    YEARS = "years"
    NAMES = "names"
    MOVIES = "movies"
    CUSTOM = "custom"


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


class RoutineUnknown(ServiceError):
    kind, reason = Kind.INVALID, "ROUTINE_TYPE_UNKNOWN"
    action = f"Send one of: {', '.join(Routine)}."


class ValueTooLong(ServiceError):
    kind, reason = Kind.INVALID, "VALUE_TOO_LONG"
    action = f"Send a value of at most {LONGEST_VALUE} characters."


class ValueNotSpeakable(ServiceError):
    kind, reason = Kind.INVALID, "VALUE_NOT_SPEAKABLE"
    action = "Send a value on one line, with at least one visible character."


class LanguageNotWritten(ServiceError):
    kind, reason = Kind.INVALID, "LANGUAGE_NOT_WRITTEN"
    action = "Choose English or Spanish as the voice language."


class ContentRulesNotMet(ServiceError):
    kind, reason = Kind.UPSTREAM, "CONTENT_RULES_NOT_MET"
    action = "Try again; nothing was charged."


class ModelUnavailable(ServiceError):
    """`cause` is one of a handful of words, fit for a log and a metric."""

    kind, reason = Kind.UPSTREAM, "TEXT_MODEL_UNAVAILABLE"
    action = "Try again in a few seconds; nothing was charged."

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class ModelRefused(ServiceError):
    kind, reason = Kind.REFUSED, "CONTENT_REFUSED"
    action = "Use another value."


class RecentNotesUnavailable(ServiceError):
    kind, reason = Kind.UNAVAILABLE, "RECENT_NOTES_UNAVAILABLE"
    action = "Try again in a few seconds."
    retry_after_seconds = 2


@dataclass(frozen=True, slots=True)
class Violation:
    rule: Rule
    # A sentence for whoever writes the next attempt. It may quote the text, so it is never logged.
    complaint: str


@dataclass(frozen=True, slots=True)
class Brief:
    """What a note is to be about. `value` is already normalised; `giveaways` are folded words."""

    routine: Routine
    value: str
    language: str
    topic: str
    giveaways: frozenset[str]
    # Fingerprints of notes that the same user was given lately.
    avoid: frozenset[str] = frozenset()
    # What was wrong with the last attempt, when this is another one.
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Folded words: those that give a topic away, and those that tell one language from another."""

    topics: Mapping[Routine, Mapping[str, frozenset[str]]]
    languages: Mapping[str, frozenset[str]]

    def giveaways(self, routine: Routine, language: str) -> frozenset[str]:
        """English and Spanish always count: a topic must not slip out in the other tongue either."""
        words = self.topics[routine]
        return frozenset().union(*(words.get(name, frozenset()) for name in {"en", "es", language}))

    def significant(self, topic: str) -> frozenset[str]:
        """The words of a free topic that carry its meaning, with a plain plural or singular of each."""
        everyday = frozenset().union(*self.languages.values())
        named = frozenset(words_of(topic)) - everyday or frozenset(words_of(topic))
        plurals = {word + ending for word in named for ending in ("s", "es")}
        singulars = {
            word.removesuffix(ending) for word in named if len(word) > 4 for ending in ("s", "es", "ies")
        }
        return named | plurals | singulars

    def routine_of(self, topic: str) -> Routine:
        """The routine type that a free topic is another word for, or custom."""
        named = set(words_of(topic)) - frozenset().union(*self.languages.values())
        for routine, by_language in self.topics.items():
            if named and named <= frozenset().union(*by_language.values()):
                return routine
        return Routine.CUSTOM


def fold(text: str) -> str:
    """Without case and accents, so that PELÍCULA and pelicula are one word."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def words_of(text: str) -> list[str]:
    found: list[str] = _WORDS.findall(fold(text))
    return found


def characters(text: str) -> int:
    """Length as people count it: one for each grapheme."""
    return sum(1 for _ in regex.finditer(r"\X", text))


def primary_language(tag: str) -> str:
    """The part of a language tag that decides which words are used; English when there is none."""
    return tag.replace("_", "-").split("-")[0].lower() or "en"


def fingerprint(text: str) -> str:
    """Enough of a note to know it again, and nothing of what it says."""
    return sha256(text.encode()).hexdigest()[:32]


def normalise_value(value: str) -> str:
    """The value as it will stand in the note. Raises ValueNotSpeakable and ValueTooLong."""
    plain = unicodedata.normalize("NFC", value).strip()
    if not _SPEAKABLE.search(plain) or _UNSPEAKABLE.search(plain):
        raise ValueNotSpeakable("The value has nothing in it that can be said on one line.")
    if characters(plain) > LONGEST_VALUE:
        raise ValueTooLong(
            f"A note has at most {LONGEST} characters, so a value can have at most {LONGEST_VALUE}; "
            f"this one has {characters(plain)}."
        )
    return plain


def mentions(text: str, value: str) -> int:
    """How often the value is said, in any case, but not inside another word."""
    return len(_mention(value).findall(text))


def words_around(text: str, value: str) -> str:
    """The text with its value masked: a value keeps its own dots, quotes and topic words."""
    return str(_mention(value).sub(_VALUE, text))


def sentences(text: str) -> int:
    return sum(1 for piece in _SENTENCE_END.split(text) if piece.strip())


def violations(text: str, brief: Brief, lexicon: Lexicon) -> tuple[Violation, ...]:
    """Every rule that the text breaks, in the order of Rule."""
    around = words_around(text, brief.value)
    found = (
        _length(text),
        _value(text, brief.value),
        _topic(around, brief.giveaways),
        _sentence_count(around),
        _language(around, brief.language, lexicon.languages),
        *(Violation(rule, said) for rule, pattern, said in _FORMS if pattern.search(around)),
    )
    return tuple(violation for violation in found if violation is not None)


_FORMS = (
    (Rule.LINE_BREAK, _LINE_BREAK, "It has a line break; write it on one line."),
    (Rule.LIST, _BULLET, "It begins like a list; write plain speech."),
    (Rule.LABEL, _LABEL, "It begins with a label; write only what is said."),
    (Rule.QUOTE, _QUOTE, "It has quotation marks; write plain speech without them."),
    (Rule.MARKUP, _MARKUP, "It has markup; write plain speech."),
    (Rule.EMOJI, _EMOJI, "It has an emoji; write plain speech."),
)


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
    named = sorted(giveaways.intersection(words_of(around)))
    if not named:
        return None
    return Violation(Rule.TOPIC_NAMED, f"It names the topic; do not use: {', '.join(named)}.")


def _sentence_count(around: str) -> Violation | None:
    count = sentences(around)
    if 1 <= count <= MOST_SENTENCES:
        return None
    return Violation(Rule.SENTENCES, f"It has {count} sentences; write one or two.")


def _language(around: str, language: str, languages: Mapping[str, frozenset[str]]) -> Violation | None:
    """A vote of everyday words. It speaks up only for a clear winner that is not the one asked for."""
    if language not in languages:
        return None
    said = words_of(around)
    votes = {name: sum(word in everyday for word in said) for name, everyday in languages.items()}
    winner = max(votes, key=lambda name: votes[name])
    if votes[winner] < votes[language] + 2:
        return None
    return Violation(Rule.LANGUAGE, f"It is not in the language asked for ({language}).")


def _mention(value: str, *, loosely: bool = False) -> regex.Pattern[str]:
    before = rf"(?<!{_WORD})" if regex.match(_WORD, value) else ""
    after = rf"(?!{_WORD})" if regex.search(_WORD + r"\Z", value) else ""
    literal = regex.escape(value, special_only=True, literal_spaces=True)
    if loosely:
        # Models like typographic apostrophes and lose double spaces; the value keeps the typed ones.
        literal = regex.sub(r"['’]", "['’]", regex.sub(r"\s+", r"\\s+", literal))
    return regex.compile(before + literal + after, regex.IGNORECASE)


def repair(text: str, value: str) -> str:
    """Put right what changes no word: spaces, quotes, labels, markup, and the value's own spelling."""
    plain = unicodedata.normalize("NFC", text).replace(_VALUE, "")
    masked = _mention(value, loosely=True).sub(_VALUE, plain)
    for blemish in (_EMOJI, _QUOTE, _MARKUP):
        masked = blemish.sub("", masked)
    masked = _SPACES.sub(" ", masked)
    for opening in (_BULLET, _LABEL):
        masked = opening.sub("", masked)
    return str(masked).strip().replace(_VALUE, value)
