"""What a text model is told about a brief, in the language of the note."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final
from unicodedata import category

import yaml

from services.content.domain import LONGEST, SHORTEST, Brief, Routine
from services.content.lexicon import DATA

CURRENT: Final = "note.v2"
# Whatever is cut off here is too long to be a note, also in scripts of three tokens a character.
MOST_TOKENS: Final = 400
TEMPERATURE: Final = 1.0

# Joiners belong to emoji and to the spelling of some languages.
_JOINERS: Final = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Example:
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Told:
    """The system part holds our words only; what callers sent is in the user part."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """In one language."""

    system: Template
    user: Template
    again: Template
    examples: Mapping[Routine, tuple[Example, ...]]

    def told(self, brief: Brief) -> Told:
        system = self.system.substitute(
            shortest=SHORTEST, longest=LONGEST, examples=_shown(self.examples[brief.routine])
        )
        user = self.user.substitute(brief=_as_data(brief))
        if brief.complaints:
            user += "\n" + self.again.substitute(complaints=" ".join(brief.complaints))
        return Told(system, user)


@dataclass(frozen=True, slots=True)
class Prompts:
    """`version` names the folder: a changed prompt is a new version."""

    version: str
    by_language: Mapping[str, Prompt]

    @property
    def languages(self) -> frozenset[str]:
        return frozenset(self.by_language)

    def of(self, brief: Brief) -> Told:
        return self.by_language[brief.language].told(brief)


def load_prompts(version: str = CURRENT, folder: Path = DATA / "prompts") -> Prompts:
    files = sorted((folder / version).glob("*.yaml"))
    return Prompts(version, {file.stem: _read(file) for file in files})


def _read(path: Path) -> Prompt:
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return Prompt(
        system=Template(found["system"].strip()),
        user=Template(found["user"].strip()),
        again=Template(found["again"].strip()),
        examples={
            routine: tuple(Example(**example) for example in found["examples"][routine.value])
            for routine in Routine
        },
    )


def _shown(examples: tuple[Example, ...]) -> str:
    return "\n".join(f"{_json({'value': example.value})}\n{example.note}" for example in examples)


def _as_data(brief: Brief) -> str:
    return _json(
        {
            "value": brief.value,
            "language": brief.language,
            "topic": brief.topic,
            "never_say": sorted(brief.giveaways),
        }
    )


def _json(fields: Mapping[str, Any]) -> str:
    """Without angle brackets, so that a value cannot close the element that holds it.

    Invisible characters are spelled out: what no person can see, no model reads as plain text.
    """
    plain = json.dumps(fields, ensure_ascii=False)
    return "".join(_spelled_out(letter) if _hides(letter) else letter for letter in plain)


def _hides(letter: str) -> bool:
    unseen = category(letter) in {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"} and letter not in _JOINERS
    return letter in "<>" or unseen


def _spelled_out(letter: str) -> str:
    return json.dumps(letter)[1:-1] if ord(letter) > 0x7F else f"\\u{ord(letter):04x}"
