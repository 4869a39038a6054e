"""The 9 settings of a performer."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date

from services.auth.domain.errors import DateNotReal

# What the shipped client's language menu sends.
_LANGUAGE_ALIASES = {"english": "en", "spanish": "es"}

Setting = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Preferences:
    voice_language: str = "en"
    speaker_sex: str = "male"
    voice_stability: int = 50
    voice_similarity: int = 75
    background_sound: bool = False
    background_volume: int = 30
    voice_note_name: str | None = None
    voice_note_date: str | None = None
    voice_note_name_default: bool = False


SETTINGS = tuple(field.name for field in fields(Preferences))


def changes_of(given: Mapping[str, Setting]) -> dict[str, Setting]:
    """The given settings as they are kept. Raises DateNotReal."""
    kept = dict(given)
    if "voice_language" in kept:
        kept["voice_language"] = canonical_language(str(kept["voice_language"]))
    for clearable in ("voice_note_name", "voice_note_date"):
        if clearable in kept:
            kept[clearable] = kept[clearable] or None
    _require_real(kept.get("voice_note_date"))
    return kept


def with_changes(given: Mapping[str, Setting]) -> Preferences:
    """All 9 settings, from some of them."""
    return replace(Preferences(), **changes_of(given))  # type: ignore[arg-type]


def canonical_language(tag: str) -> str:
    """The tag with the letter case that BCP 47 recommends: zh-Hant-TW."""
    first, *others = _LANGUAGE_ALIASES.get(tag.lower(), tag).split("-")
    shaped = [first.lower()]
    for part in others:
        after_singleton = len(shaped[-1]) == 1
        if len(part) == 2 and not after_singleton:
            shaped.append(part.upper())
        elif len(part) == 4 and part.isalpha() and not after_singleton:
            shaped.append(part.title())
        else:
            shaped.append(part.lower())
    return "-".join(shaped)


def _require_real(day: Setting) -> None:
    if day is None:
        return
    try:
        date.fromisoformat(str(day))
    except ValueError as error:
        raise DateNotReal(f"voice_note_date: {day} is no day of the calendar.") from error
