"""The value: how it may be typed, and where it is said."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import regex  # type: ignore[import-untyped]

from services.content.domain.limits import LONGEST, LONGEST_VALUE
from services.content.domain.outcomes import ValueNotSpeakable, ValueTooLong
from services.content.domain.words import GLUED, characters

# Stands for the value while the words around it are judged.
MASK = "\N{OBJECT REPLACEMENT CHARACTER}"

_UNSPEAKABLE = regex.compile(r"[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]")
_SPEAKABLE = regex.compile(r"[\p{L}\p{N}\p{P}\p{S}]")

_SPACED = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--[{GLUED}]]"
_KANJI_NUMBER = "[〇零一二三四五六七八九十百千万億兆两萬亿]"
_KATAKANA = r"[\p{Katakana}ー]"
_HIRAGANA = r"[\p{Hiragana}ー]"
_HANGUL = r"\p{Hangul}"
# What Japanese and Korean write onto the end of a word; anything else goes on with the word.
_JAPANESE_PARTICLES = (
    "が|を|は|に|の|と|も|で|へ|や|か|から|まで|より|って|という|だけ|ばかり|ほど|など|さん|ちゃん|くん|"
    "だっ|だと|だな|だよ|だね|だ。|です|でし|だろ|らし|みたい|なの|な"
)
_KOREAN_PARTICLES = (
    "은|는|이|가|을|를|과|와|의|에|에서|에게|한테|께|도|만|로|으로|랑|이랑|하고|까지|부터|처럼|보다|마다|"
    "밖에|조차|마저|나|이나|든|이든|아|야|이야|요|이요|이에요|예요|라|이라|라고|이라고|라는|이라는|라서|이라서|"
    "라면|이라면|란|이란|님|씨|뿐|다|이다|였다|이었다|였어|이었어|였는데|이었는데|인|인데|인지|일|입니다|이네|네|같은|같이"
)


def _edges(*edges: tuple[str, str]) -> tuple[tuple[regex.Pattern[str], regex.Pattern[str]], ...]:
    return tuple((regex.compile(kind, regex.V1), regex.compile(edge, regex.V1)) for kind, edge in edges)


# Where a word begins after, and ends before: kana before a hiragana word are particles or endings.
_BEFORE = _edges(
    (_SPACED, rf"(?<!{_SPACED})"),
    (_KANJI_NUMBER, rf"(?<!{_KANJI_NUMBER})"),
    (_KATAKANA, rf"(?<!{_KATAKANA})"),
    (_HIRAGANA, rf"(?:(?<!{_HIRAGANA})|(?<=[がをはにのともでへやかてたな]))"),
    (_HANGUL, rf"(?<!{_HANGUL})"),
)
_AFTER = _edges(
    (_SPACED, rf"(?!{_SPACED})"),
    (_KANJI_NUMBER, rf"(?!{_KANJI_NUMBER})"),
    (_KATAKANA, rf"(?!{_KATAKANA})"),
    (_HIRAGANA, rf"(?={_JAPANESE_PARTICLES}|(?!{_HIRAGANA}))"),
    (_HANGUL, rf"(?=(?:{_KOREAN_PARTICLES}){{0,3}}(?!{_HANGUL}))"),
)
_ANY_PLACE = regex.compile("")
# What is spelled in more ways than one.
_APOSTROPHE = regex.compile("['’]")
_LOOSE = regex.compile(r"['’\s]")


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
    return sum(1 for _ in _places(text, value))


def words_around(text: str, value: str, *, loosely: bool = False) -> str:
    """The text with its value masked: a value keeps its own dots, quotes and topic words.

    Loosely, it is also known with the apostrophes and spaces of models, who like typographic ones and lose
    double ones.
    """
    around, end = "", 0
    for begin, behind in _places(text, value, loosely=loosely):
        around += text[end:begin] + MASK
        end = behind
    return around + text[end:]


def _places(text: str, value: str, *, loosely: bool = False) -> Iterator[tuple[int, int]]:
    """Where the value is a word of its own. Chinese characters have no edges: any place they stand is one."""
    before, after = _edge(_BEFORE, value[0]), _edge(_AFTER, value[-1])
    marks, end = _LOOSE.findall(value), 0
    for found in _spelled(value).finditer(text, overlapped=True):
        begin, behind = found.span()
        as_typed = loosely or _LOOSE.findall(found.group()) == marks
        if begin >= end and as_typed and before.match(text, begin) and after.match(text, behind):
            yield begin, behind
            end = behind


@lru_cache(maxsize=512)
def _spelled(value: str) -> regex.Pattern[str]:
    """In any case, with any apostrophes and spaces. The edges are no part of it: compiling them anew for each
    value would hold up everybody for a millisecond."""
    words = (regex.escape(word, special_only=True) for word in value.split())
    return regex.compile(_APOSTROPHE.sub("['’]", r"\s+".join(words)), regex.IGNORECASE | regex.V1)


def _edge(
    edges: tuple[tuple[regex.Pattern[str], regex.Pattern[str]], ...], letter: str
) -> regex.Pattern[str]:
    return next((edge for kind, edge in edges if kind.match(letter)), _ANY_PLACE)
