"""Letters to sounds, for English words and names that no dictionary has."""

import re
from typing import Final

# Spelling, what must follow it (a pattern), and its sound. The first rule that fits wins, so longer
# spellings come first. `^` in the spelling means "at the start of the word".
_RULES: Final = [
    # Silent or special starts.
    ("^kn", "", "n"),
    ("^gn", "", "n"),
    ("^ps", "", "s"),
    ("^pn", "", "n"),
    ("^wr", "[aeiou]", "ɹ"),
    ("^w", "[bcdfghjklmnpqrstvz]", "v"),
    ("^x", "", "z"),
    ("^mc", "", "mək"),
    ("^wh", "", "w"),
    ("^rh", "", "ɹ"),
    ("^ts", "", "s"),
    ("^y", "[aeiou]", "j"),
    # Endings.
    ("tion", "s?$", "ʃᵊn"),
    ("sion", "s?$", "ʒᵊn"),
    ("cian", "s?$", "ʃᵊn"),
    ("cial", "", "ʃᵊl"),
    ("tial", "", "ʃᵊl"),
    ("cious", "$", "ʃəs"),
    ("tious", "$", "ʃəs"),
    ("ious", "$", "iəs"),
    ("ous", "$", "əs"),
    ("ture", "s?$", "ʧəɹ"),
    ("sure", "s?$", "ʒəɹ"),
    ("ough", "t", "ɔ"),
    ("ough", "$", "O"),
    ("augh", "t", "ɔ"),
    ("eigh", "", "A"),
    ("igh", "", "I"),
    ("ought", "", "ɔt"),
    ("able", "s?$", "əbᵊl"),
    ("ible", "s?$", "əbᵊl"),
    ("ville", "s?$", "vɪl"),
    ("elle", "s?$", "ɛl"),
    ("ette", "s?$", "ɛt"),
    ("ine", "$", "in"),
    ("que", "$", "k"),
    ("gue", "$", "ɡ"),
    ("age", "$", "ɪʤ"),
    ("ism", "$", "ɪzᵊm"),
    ("burgh", "$", "bəɹɡ"),
    ("mb", "$", "m"),
    ("mn", "$", "m"),
    ("ing", "s?$", "ɪŋ"),
    ("ey", "s?$", "i"),
    ("ie", "s?$", "i"),
    ("y", "s?$", "i"),
    ("le", "s?$", "ᵊl"),
    ("ed", "$", "d"),
    ("es", "$", "z"),
    ("er", "s?$", "əɹ"),
    ("ar", "s?$", "əɹ"),
    ("or", "s?$", "əɹ"),
    ("a", "$", "ə"),
    ("o", "s?$", "O"),
    ("i", "s?$", "i"),
    ("u", "s?$", "u"),
    ("e", "s?$", ""),
    # Vowels before r.
    ("air", "", "ɛɹ"),
    ("are", "$", "ɛɹ"),
    ("ear", "", "ɪɹ"),
    ("eer", "", "ɪɹ"),
    ("ier", "", "ɪɹ"),
    ("ire", "$", "Iəɹ"),
    ("ore", "$", "ɔɹ"),
    ("oor", "", "ɔɹ"),
    ("our", "", "ɔɹ"),
    ("oar", "", "ɔɹ"),
    ("ure", "$", "jʊɹ"),
    ("arr", "", "æɹ"),
    ("ar", "(?![aeiouy])", "ɑɹ"),
    ("or", "(?![aeiouy])", "ɔɹ"),
    ("er", "(?![aeiouy])", "ɜɹ"),
    ("ir", "(?![aeiouy])", "ɜɹ"),
    ("ur", "(?![aeiouy])", "ɜɹ"),
    # Two vowels.
    ("ai", "", "A"),
    ("ay", "", "A"),
    ("au", "", "ɔ"),
    ("aw", "", "ɔ"),
    ("ea", "", "i"),
    ("ee", "", "i"),
    ("ei", "", "A"),
    ("eu", "", "u"),
    ("ew", "", "u"),
    ("ia", "", "iə"),
    ("ie", "", "i"),
    ("io", "", "iO"),
    ("oa", "", "O"),
    ("oe", "$", "O"),
    ("oi", "", "Y"),
    ("oy", "", "Y"),
    ("oo", "", "u"),
    ("ou", "", "W"),
    ("ow", "$", "O"),
    ("ow", "", "W"),
    ("ue", "", "u"),
    ("ui", "", "u"),
    ("uy", "", "I"),
    ("ya", "", "jɑ"),
    # Consonants.
    ("szcz", "", "ʃʧ"),
    ("sz", "", "ʃ"),
    ("cz", "", "ʧ"),
    ("rz", "", "ʒ"),
    ("tch", "", "ʧ"),
    ("sch", "", "ʃ"),
    ("cch", "", "k"),
    ("ch", "[rl]", "k"),
    ("ch", "", "ʧ"),
    ("ck", "", "k"),
    ("dge", "", "ʤ"),
    ("dg", "", "ʤ"),
    ("dj", "", "ʤ"),
    ("gh", "[aeiou]", "ɡ"),
    ("gh", "", ""),
    ("gg", "", "ɡ"),
    ("kh", "", "k"),
    ("ng", "$|s$|[bcdfkmnpstvz]", "ŋ"),
    ("ng", "", "ŋɡ"),
    ("nk", "", "ŋk"),
    ("nx", "", "ŋks"),
    ("ph", "", "f"),
    ("qu", "", "kw"),
    ("q", "", "k"),
    ("sce", "", "sɛ"),
    ("sci", "", "sɪ"),
    ("shch", "", "ʃʧ"),
    ("sh", "", "ʃ"),
    ("ss", "", "s"),
    ("th", "", "θ"),
    ("tz", "", "ts"),
    ("zh", "", "ʒ"),
    ("zz", "", "ts"),
    ("cc", "[eiy]", "ks"),
    ("c", "[eiy]", "s"),
    ("g", "[eiy]", "ʤ"),
    ("x", "", "ks"),
    ("j", "", "ʤ"),
    # A vowel before one consonant and a silent e says its name.
    ("a", "[bcdfgklmnpstvz]es?$", "A"),
    ("e", "[bcdfgklmnpstvz]es?$", "i"),
    ("i", "[bcdfgklmnpstvz]es?$", "I"),
    ("o", "[bcdfgklmnpstvz]es?$", "O"),
    ("u", "[bcdfgklmnpstvz]es?$", "u"),
    ("y", "[bcdfgklmnpstvz]es?$", "I"),
    # Single letters; an open syllable has the long "continental" vowel that names have.
    ("a", "[bdfgklmnpstvz][aeiouy]", "ɑ"),
    ("e", "[bdfgklmnpstvz][aeiou]", "ɛ"),
    ("i", "[bdfgklmnpstvz][aou]", "i"),
    ("o", "[bdfgklmnpstvz][aeiouy]", "O"),
    ("u", "[bdfgklmnpstvz][aeiouy]", "u"),
    ("ii", "", "i"),
    ("aa", "", "ɑ"),
    ("uu", "", "u"),
    ("a", "", "æ"),
    ("e", "", "ɛ"),
    ("i", "", "ɪ"),
    ("o", "", "ɑ"),
    ("u", "", "ʌ"),
    ("y", "", "ɪ"),
    ("b", "", "b"),
    ("c", "", "k"),
    ("d", "", "d"),
    ("f", "", "f"),
    ("g", "", "ɡ"),
    ("h", "$", ""),
    ("h", "", "h"),
    ("k", "", "k"),
    ("l", "", "l"),
    ("m", "", "m"),
    ("n", "", "n"),
    ("p", "", "p"),
    ("r", "", "ɹ"),
    ("s", "", "s"),
    ("t", "", "t"),
    ("v", "", "v"),
    ("w", "", "w"),
    ("z", "", "z"),
    ("'", "", ""),
]
_COMPILED: Final = [
    (re.compile(re.escape(spelling.lstrip("^")) + f"(?:(?={following}))"), spelling[0] == "^", sound)
    for spelling, following, sound in _RULES
]
_DOUBLE_CONSONANT: Final = re.compile(r"([bdfklmnprtv])\1")
_VOWEL_SOUNDS: Final = "AIOWYæɑɔəɛɜɪiuʊʌᵊ"
# A vowel that English rarely stresses at the end of a word.
_WEAK_SOUNDS: Final = "əᵊ"
_STRESS_BEFORE: Final = re.compile(r"(?:ʃᵊn|ʒᵊn|ʃᵊl|ɪk|ɪks|ʃəs|iəs|ɪti|iə)$")


def sounds_of(word: str) -> str:
    """Phonemes with one stress; empty only for a word without any vowel sound."""
    letters = _DOUBLE_CONSONANT.sub(r"\1", word.lower())
    sounds: list[str] = []
    position = 0
    while position < len(letters):
        spelling_length, sound = _sound_at(letters, position)
        sounds.append(sound)
        position += spelling_length
    return _stressed("".join(sounds))


def _sound_at(letters: str, position: int) -> tuple[int, str]:
    for spelling, at_start, sound in _COMPILED:
        if at_start and position:
            continue
        found = spelling.match(letters, position)
        # An ending is not the whole word: "ed" in "ted" has a vowel before it, "red" has not.
        if found and not (sound == "" and len(found[0]) == len(letters)):
            return max(1, len(found[0])), sound
    return 1, ""


def _stressed(sounds: str) -> str:
    vowels = [index for index, sound in enumerate(sounds) if sound in _VOWEL_SOUNDS]
    if not vowels:
        return ""
    strong = [index for index in vowels if sounds[index] not in _WEAK_SOUNDS] or vowels
    ending = _STRESS_BEFORE.search(sounds)
    before_ending = [index for index in strong if ending and index < ending.start()]
    if before_ending:
        stressed = before_ending[-1]
    elif len(vowels) <= 2:
        stressed = strong[0]
    else:
        # Last but one, or the one before where that one is weak.
        stressed = max((index for index in strong if index <= vowels[-2]), default=strong[0])
    return f"{sounds[:stressed]}ˈ{sounds[stressed:]}"
