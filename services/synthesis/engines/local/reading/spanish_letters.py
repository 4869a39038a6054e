"""One Spanish word to its sounds: the spelling says everything, the stress included."""

import re
from dataclasses import dataclass
from typing import Final

_VOWELS: Final = "aeiouáéíóúü"
_PLAIN: Final = str.maketrans("áéíóúü", "aeiouu")
_STRONG: Final = "aeoáéó"
_SOFTENING: Final = "eiéí"
# One letter for each sound that Spanish writes with two, before the letters are read one by one.
_DIGRAPHS: Final = [
    (re.compile(r"qu(?=[eiéí])"), "k"),
    (re.compile(r"gu(?=[eiéí])"), "G"),
    (re.compile(r"ch"), "C"),
    (re.compile(r"ll"), "L"),
    (re.compile(r"rr"), "R"),
    (re.compile(r"^ps"), "s"),
    # The x of old spelling, kept in names.
    (re.compile(r"(?<=^mé)x(?=ico)|(?<=^me)x(?=ican)|(?<=^te)x(?=as|an)|(?<=^oa)x(?=aca)|^x(?=im)"), "j"),
    (re.compile(r"sh"), "S"),
    (re.compile(r"h(?=u[eaoi])"), "W"),
    (re.compile(r"h"), ""),
]
# Said with a closed mouth after a pause and after these letters, softly elsewhere.
_STOPS: Final = {
    "b": ("b", "β", "mn"),
    "v": ("b", "β", "mn"),
    "d": ("d", "ð", "nl"),
    "g": ("ɡ", "ɣ", "n"),
    "G": ("ɡ", "ɣ", "n"),
}
_ALWAYS: Final = {
    "c": "k",
    "y": "ʝ",
    "C": "ʧ",
    "L": "ʝ",
    "R": "r",
    "S": "ʃ",
    "j": "x",
    "ñ": "ɲ",
    "q": "k",
    "x": "ks",
    "W": "",
    "f": "f",
    "k": "k",
    "l": "l",
    "m": "m",
    "p": "p",
    "s": "s",
    "t": "t",
    "w": "w",
}


@dataclass(frozen=True, slots=True)
class _Spelling:
    """One letter for each sound, and what the sounds depend on."""

    letters: str
    nuclei: list[tuple[int, int]]
    stress_at: int | None
    hard_start: bool
    distinguishes_z: bool


def sounds_of(
    word: str, *, distinguishes_z: bool = False, hard_start: bool = True, stressed: bool = True
) -> str:
    """`hard_start`: after a pause or a nasal, b, d and g are stops; elsewhere they are soft."""
    letters = word.lower()
    for digraph, letter in _DIGRAPHS:
        letters = digraph.sub(letter, letters)
    # A y is a vowel at the end of a word and where it stands alone.
    letters = re.sub(r"y(?=$|[^aeiouáéíóúü])", "i", letters)
    nuclei = _nuclei(letters)
    stress_at = _stressed_letter(letters, nuclei, word.lower()) if stressed else None
    spelling = _Spelling(letters, nuclei, stress_at, hard_start, distinguishes_z)
    return "".join(
        ("ˈ" if position == stress_at else "") + _sound(spelling, position)
        for position in range(len(letters))
    )


def _nuclei(letters: str) -> list[tuple[int, int]]:
    """Start and end of each syllable's vowels: two strong ones, or an accented weak one, part company."""
    found: list[tuple[int, int]] = []
    for position, letter in enumerate(letters):
        if letter not in _VOWELS:
            continue
        joins = found and found[-1][1] == position and not _hiatus(letters[position - 1], letter)
        if joins:
            found[-1] = (found[-1][0], position + 1)
        else:
            found.append((position, position + 1))
    return found


def _hiatus(first: str, second: str) -> bool:
    both_strong = first in _STRONG and second in _STRONG
    return (
        both_strong or first in "íú" or second in "íú" or first.translate(_PLAIN) == second.translate(_PLAIN)
    )


def _stressed_letter(letters: str, nuclei: list[tuple[int, int]], word: str) -> int | None:
    if not nuclei:
        return None
    written = next((position for position, letter in enumerate(letters) if letter in "áéíóú"), None)
    if written is not None:
        return written
    # A written final y counts as a consonant here: "virrey", "Paraguay".
    ends_softly = word[-1] in "aeiouns"
    start, end = nuclei[-2] if ends_softly and len(nuclei) > 1 else nuclei[-1]
    strong = [position for position in range(start, end) if letters[position] in _STRONG]
    return strong[0] if strong else end - 1


def _sound(spelling: _Spelling, position: int) -> str:
    letter = spelling.letters[position]
    before = spelling.letters[position - 1] if position else ""
    after = spelling.letters[position + 1 : position + 3]
    soft_vowel_next = after[:1] in _SOFTENING and after != ""
    hard = spelling.hard_start and not before
    if letter in _VOWELS:
        return _vowel(spelling, position)
    if letter in _STOPS:
        if letter == "g" and soft_vowel_next:
            return "x"
        stop, soft, nasals = _STOPS[letter]
        return stop if hard or (before and before in nasals) else soft
    velar_c_next = after[:1] == "c" and after[1:] not in tuple(_SOFTENING)
    sounds = {
        "z": "θ" if spelling.distinguishes_z else "s",
        "r": "r" if not before or before in "nls" else "ɾ",
        "n": "ŋ" if velar_c_next or after[:1] in tuple("kgGqjW") else "n",
    }
    if letter == "c" and soft_vowel_next:
        return sounds["z"]
    return sounds.get(letter) or _ALWAYS.get(letter, "")


def _vowel(spelling: _Spelling, position: int) -> str:
    letter = spelling.letters[position]
    plain = letter.translate(_PLAIN)
    if letter not in "iuü" or position == spelling.stress_at:
        return plain
    _, end = next((start, end) for start, end in spelling.nuclei if start <= position < end)
    before_another_vowel = position + 1 < end
    return {"i": "j", "u": "w"}[plain] if before_another_vowel else plain
