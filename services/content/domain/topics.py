"""Whether a text names its topic: as a word, as the beginning of one, or inside a run without breaks."""

from functools import lru_cache

import regex  # type: ignore[import-untyped]

from services.content.domain.words import GLUED, UNSPACED, fold, words_of

_GLUED = regex.compile(rf"[{GLUED}]", regex.V1)
_LATIN = regex.compile(r"\p{Latin}")
# Runs of characters and of katakana carry meaning; what joins them (hiragana, the Chinese 的) does not.
_CHARACTERS_OF_MEANING = regex.compile(r"[\p{Han}--的]{2,}|[\p{Katakana}ー]{2,}", regex.V1)
_UNSPACED = regex.compile(rf"[{UNSPACED}]")
_KOREAN_ENDING = regex.compile(r"(?<=\p{Hangul}{2})(?:은|는|이|가|을|를|의|들|에|도|로)$")
# Endings that a noun changes in English, the Romance languages, German and Russian.
_ENDING = regex.compile(
    r"(?:ies|es|s|en|er|em|n|a|e|i|o|y|ами|ями|ах|ях|ов|ев|ей|ой|ом|ем|ам|ям|[аяыиоеуюйь]{1,2})$"
)
_SHORTEST_STEM = 4


def names_topic(text: str, giveaways: frozenset[str]) -> list[str]:
    """The giveaways that the text says, as it says them."""
    words, stems, inside = _sorted(giveaways)
    said = words_of(text)
    named = {word for word in said if word in words or (stems and word.startswith(stems))}
    folded = fold(text) if inside else ""
    return sorted(named | {part for part in inside if part in folded})


def meanings(named: frozenset[str]) -> frozenset[str]:
    """Words of a free topic, with their plain plurals and singulars, and stems of those that inflect."""
    spaced = {word for word in named if not _GLUED.match(word)}
    latin = {word for word in spaced if _LATIN.match(word)}
    plurals = {word + ending for word in latin for ending in ("s", "es")}
    singulars = {
        word.removesuffix(ending) for word in latin if len(word) > 4 for ending in ("s", "es", "ies")
    }
    stems = {f"{stem}*" for word in spaced if len(stem := _ENDING.sub("", word)) >= _SHORTEST_STEM}
    glued = {part for word in named - spaced for part in _glued_meanings(word)}
    return named | plurals | singulars | stems | glued


def _glued_meanings(word: str) -> set[str]:
    if _UNSPACED.match(word):
        return set(_CHARACTERS_OF_MEANING.findall(word))
    return {str(_KOREAN_ENDING.sub("", word))}


@lru_cache(maxsize=256)
def _sorted(giveaways: frozenset[str]) -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    stems = tuple(word[:-1] for word in giveaways if word.endswith("*"))
    inside = tuple(word for word in giveaways if _GLUED.match(word))
    return giveaways, stems, inside
