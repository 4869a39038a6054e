"""The kinds of thing that a spectator may be asked to think of."""

from enum import StrEnum


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
