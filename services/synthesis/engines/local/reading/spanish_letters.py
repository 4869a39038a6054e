"""One Spanish word to its sounds: the spelling says everything, the stress included."""

import re
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
_ALWAYS: Final = {
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


def sounds_of(
    word: str, *, distinguishes_z: bool = False, hard_start: bool = True, stressed: bool = True
) -> str:
    """`hard_start`: after a pause or a nasal, b, d and g are stops; elsewhere they are soft."""
    letters = word.lower()
    for spelling, letter in _DIGRAPHS:
        letters = spelling.sub(letter, letters)
    # A y is a vowel at the end of a word and where it stands alone.
    letters = re.sub(r"y(?=$|[^aeiouáéíóúü])", "i", letters)
    nuclei = _nuclei(letters)
    stress_at = _stressed_letter(letters, nuclei, word.lower()) if stressed else None
    sounds = []
    for position in range(len(letters)):
        mark = "ˈ" if position == stress_at else ""
        sounds.append(mark + _sound(letters, position, nuclei, stress_at, hard_start, distinguishes_z))
    return "".join(sounds)


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


def _sound(  # noqa: PLR0913, PLR0911 - one letter and everything that its sound depends on.
    letters: str,
    position: int,
    nuclei: list[tuple[int, int]],
    stress_at: int | None,
    hard_start: bool,
    distinguishes_z: bool,
) -> str:
    letter = letters[position]
    before = letters[position - 1] if position else ""
    after = letters[position + 1] if position + 1 < len(letters) else ""
    if letter in _VOWELS:
        return _vowel(letter, position, nuclei, stress_at)
    if letter in "bv":
        return "b" if (not before and hard_start) or before in tuple("mn") else "β"
    if letter == "d":
        return "d" if (not before and hard_start) or before in tuple("nl") else "ð"
    if letter == "g" and after and after in _SOFTENING:
        return "x"
    if letter in "gG":
        return "ɡ" if (not before and hard_start) or before == "n" else "ɣ"
    if letter == "z" or (letter == "c" and after and after in _SOFTENING):
        return "θ" if distinguishes_z else "s"
    if letter == "c":
        return "k"
    if letter == "y":
        return "ʝ"
    if letter == "r":
        return "r" if not before or before in "nls" else "ɾ"
    if letter == "n":
        velar = after and (
            after in "kgGqjW"
            or (after == "c" and letters[position + 2 : position + 3] not in tuple(_SOFTENING))
        )
        return "ŋ" if velar else "n"
    return _ALWAYS.get(letter, "")


def _vowel(letter: str, position: int, nuclei: list[tuple[int, int]], stress_at: int | None) -> str:
    plain = letter.translate(_PLAIN)
    if letter not in "iuü" or position == stress_at:
        return plain
    start, end = next((start, end) for start, end in nuclei if start <= position < end)
    if position + 1 < end:
        return "j" if plain == "i" else "w"
    return plain if position == start else {"i": "i", "u": "u"}[plain]
