"""From text to the phonemes that the speech model was trained on."""

from services.synthesis.engines.local.reading.english import english_phonemes
from services.synthesis.engines.local.reading.script import in_latin_letters
from services.synthesis.engines.local.reading.spanish import spanish_phonemes
from services.synthesis.engines.local.reading.unreadable import unreadable

__all__ = ["phonemes_of", "unreadable"]


def phonemes_of(text: str, language: str) -> str:
    """Phonemes and punctuation, ending with a mark; empty when nothing in the text can be said.

    `language` is a BCP 47 tag: `es-ES` tells z from s, every other Spanish does not.
    """
    readable = in_latin_letters(text)
    if language.startswith("es"):
        phonemes = spanish_phonemes(readable, distinguishes_z=language == "es-es")
    else:
        phonemes = english_phonemes(readable)
    if not any(phoneme.isalpha() for phoneme in phonemes):
        return ""
    # Without a mark at its end the model breaks off in the middle of the last sound.
    return phonemes if phonemes[-1] in ".,!?;:…—" else phonemes + ","
