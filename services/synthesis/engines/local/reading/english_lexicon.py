"""How English words are said: the misaki dictionaries, their inflections, and letters for the rest."""

import importlib.resources
import json
import re
from functools import cached_property
from typing import Final

from services.synthesis.engines.local.reading.english_letters import sounds_of

# An entry is one reading, or readings by part of speech with a DEFAULT.
Entry = str | dict[str, str | None]

_PRIMARY, _SECONDARY = "ˈ", "ˌ"
VOWELS: Final = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
_FLAPPED_AFTER: Final = frozenset("AIOWYiuæɑəɛɪɹʊʌ")
_DOUBLED: Final = re.compile(r"([bcdgklmnprstvxz])\1$|ck$")
_CONTRACTIONS: Final = ("'ll", "'ve", "'re", "'d", "'m", "n't")
_CONTRACTED: Final = {"'ll": "əl", "'ve": "əv", "'re": "əɹ", "'d": "d", "'m": "m", "n't": "ᵊnt"}
_MOST_LETTERS_OF_ACRONYM: Final = 5
_ALWAYS_LETTERS: Final = frozenset({"US", "ID", "AI", "TV", "PC", "CD"})


class EnglishLexicon:
    """Loads on first use: 180 000 words, about 0.2 s and 50 MB."""

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        folder = importlib.resources.files("misaki.data")
        silver, gold = (
            json.loads((folder / f"us_{quality}.json").read_text(encoding="utf-8"))
            for quality in ("silver", "gold")
        )
        return {**silver, **gold}

    def say(self, word: str, part: str = "DEFAULT") -> str:
        """Phonemes of any word of ASCII letters and apostrophes; never empty for a word with a letter."""
        known = self.find(word, part)
        if known is not None:
            return known
        lower = word.lower()
        if _is_acronym(word):
            return self.spell(word)
        return self._compound(lower) or sounds_of(lower) or self.spell(word)

    def find(self, word: str, part: str = "DEFAULT") -> str | None:
        """As the dictionary has it, as written or in lower case, inflected if need be."""
        # Capitals may only be loud, so the word is tried as a word first; a few are always letters.
        loud = word.isupper() and len(word) > 1 and word not in _ALWAYS_LETTERS
        forms = [word.lower(), word.capitalize(), word] if loud else [word, word.lower(), word.capitalize()]
        for form in forms:
            found = self._reading(form, part)
            if found is not None:
                return found
        return self._inflected(word.lower(), part)

    def spell(self, letters: str) -> str:
        """Letter by letter, the last one stressed, as acronyms are."""
        names = [self._reading(letter.upper(), "DEFAULT") for letter in letters if letter.isalpha()]
        quiet = [name.replace(_PRIMARY, _SECONDARY) for name in names if name]
        if quiet:
            quiet[-1] = quiet[-1].replace(_SECONDARY, _PRIMARY)
        return "".join(quiet)

    def _reading(self, form: str, part: str) -> str | None:
        entry = self._entries.get(form)
        if isinstance(entry, dict):
            return entry.get(part) or entry["DEFAULT"]
        return entry

    def _inflected(self, word: str, part: str) -> str | None:
        for contraction in _CONTRACTIONS:
            if word.endswith(contraction) and (stem := self.find(word.removesuffix(contraction), part)):
                return stem + _CONTRACTED[contraction]
        if word.endswith("s'"):
            return self.find(word[:-1], part)
        if word.endswith("in'"):
            return self.find(word[:-1] + "g", part)
        return self._with_s(word, part) or self._with_ed(word, part) or self._with_ing(word, part)

    def _with_s(self, word: str, part: str) -> str | None:
        stems = []
        if word.endswith("'s"):
            stems = [word[:-2]]
        elif len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
            stems = [word[:-1]]
            if word.endswith("ies"):
                stems.append(word[:-3] + "y")
            elif word.endswith("es"):
                stems.append(word[:-2])
        stem = self._first_known(stems, part)
        return plural(stem) if stem else None

    def _with_ed(self, word: str, part: str) -> str | None:
        if len(word) < 4 or not word.endswith("ed") or word.endswith("eed"):
            return None
        stems = [word[:-1], word[:-2]]
        if word.endswith("ied"):
            stems = [word[:-3] + "y"]
        elif _DOUBLED.search(word[:-2]):
            stems.append(word[:-3])
        stem = self._first_known(stems, part)
        return past(stem) if stem else None

    def _with_ing(self, word: str, part: str) -> str | None:
        if len(word) < 5 or not word.endswith("ing"):
            return None
        stems = [word[:-3], word[:-3] + "e"]
        if _DOUBLED.search(word[:-3]):
            stems.append(word[:-4])
        stem = self._first_known(stems, part)
        return progressive(stem) if stem else None

    def _first_known(self, stems: list[str], part: str) -> str | None:
        for stem in stems:
            if found := self._reading(stem, part) or self._reading(stem.capitalize(), part):
                return found
        return None

    def _compound(self, word: str) -> str | None:
        """Two known words in one, the first one stressed: "snapchat"."""
        for cut in sorted(range(3, len(word) - 2), key=lambda cut: abs(2 * cut - len(word))):
            first, second = self._reading(word[:cut], "DEFAULT"), self._reading(word[cut:], "DEFAULT")
            if first and second and any(sound in VOWELS for sound in first):
                return first + second.replace(_PRIMARY, _SECONDARY)
        return None


def plural(stem: str) -> str:
    if stem[-1] in "ptkfθ":
        return stem + "s"
    return stem + ("ᵻz" if stem[-1] in "szʃʒʧʤ" else "z")


def past(stem: str) -> str:
    if stem[-1] in "pkfθʃsʧ":
        return stem + "t"
    if stem[-1] == "t" and len(stem) > 1 and stem[-2] in _FLAPPED_AFTER:
        return stem[:-1] + "ɾᵻd"
    return stem + ("ᵻd" if stem[-1] in "dt" else "d")


def progressive(stem: str) -> str:
    if stem[-1] == "t" and len(stem) > 1 and stem[-2] in _FLAPPED_AFTER:
        return stem[:-1] + "ɾɪŋ"
    return stem + "ɪŋ"


def emphasised(phonemes: str, mark: str) -> str:
    """With at least this stress mark, before the first vowel."""
    if _PRIMARY in phonemes or (mark == _SECONDARY and _SECONDARY in phonemes):
        return phonemes
    if _SECONDARY in phonemes:
        return phonemes.replace(_SECONDARY, _PRIMARY, 1)
    for index, sound in enumerate(phonemes):
        if sound in VOWELS:
            return phonemes[:index] + mark + phonemes[index:]
    return phonemes


def _is_acronym(word: str) -> bool:
    """Capitals that nobody could pronounce, or too few to be a word."""
    if not word.isupper():
        return len(word) > 1 and not re.search(r"[aeiouy]", word.lower())
    return len(word) <= _MOST_LETTERS_OF_ACRONYM
