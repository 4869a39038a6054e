"""Settings as they were kept before they had percentages, and what they become."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from services.auth.domain.preferences import Setting, canonical_language

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Renewed:
    """What the settings of one user become; whatever has an old name is taken out."""

    changes: Mapping[str, Setting]
    # Fields whose value means nothing: they read as their defaults from now on.
    unreadable: tuple[str, ...]


def renewed(settings: Mapping[str, Any], beside: Mapping[str, Any]) -> Renewed:
    """From the settings, and from what older documents kept beside them.

    A value under a new name was written by a newer release, so it stays; then the settings' own old
    name counts, then the one beside them.
    """
    changes: dict[str, Setting] = {}
    unreadable: list[str] = []
    for old, (new, read) in OLD_NAMES.items():
        if new in settings and _STANDS[new](settings[new]):
            continue
        given = [place[old] for place in (settings, beside) if old in place]
        values = [value for value in map(read, given) if value is not None]
        if values:
            changes[new] = values[0]
        else:
            unreadable += [name for name, is_there in ((old, given), (new, new in settings)) if is_there]
    return Renewed(changes, tuple(unreadable))


def _language(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > 35 or not _LANGUAGE.fullmatch(value):
        return None
    return canonical_language(value)


def _sex(value: Any) -> str | None:
    return value if value in ("male", "female") else None


def _percent(fraction: Any) -> int | None:
    """Of a fraction from 0 to 1. Anything else, also 75, may be a percentage or a slip: nobody knows."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        return None
    if not math.isfinite(fraction) or not 0 <= fraction <= 1:
        return None
    # By its shortest decimal form: 0.285 is 28.5, where the float's own value would be below.
    return int((Decimal(str(float(fraction))) * 100).quantize(Decimal(1), ROUND_HALF_EVEN))


def _sound(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _is_percentage(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100


# The old name: the new one, and how to read an old value.
OLD_NAMES: Mapping[str, tuple[str, Callable[[Any], Setting]]] = {
    "language": ("voice_language", _language),
    "sex": ("speaker_sex", _sex),
    "stability": ("voice_stability", _percent),
    "similarity": ("voice_similarity", _percent),
    "add_background_sound": ("background_sound", _sound),
}

_STANDS: Mapping[str, Callable[[Any], bool]] = {
    "voice_language": lambda value: _language(value) is not None,
    "speaker_sex": lambda value: _sex(value) is not None,
    "voice_stability": _is_percentage,
    "voice_similarity": _is_percentage,
    "background_sound": lambda value: _sound(value) is not None,
}
