"""What a text model is told about a brief."""

import json
from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from services.content.domain import LONGEST, SHORTEST, Brief
from services.content.lexicon import DATA

CURRENT = "note.v1"
# A note of 120 characters is about 60 tokens in the least compact scripts; more is not a note.
MOST_TOKENS = 120
TEMPERATURE = 1.0


@dataclass(frozen=True, slots=True)
class Prompt:
    system: str
    user: Template
    again: Template

    def asked(self, brief: Brief) -> str:
        said = self.user.substitute(brief=_as_data(brief))
        if brief.complaints:
            said += "\n" + self.again.substitute(complaints=" ".join(brief.complaints))
        return said


def load_prompt(name: str = CURRENT, folder: Path = DATA / "prompts") -> Prompt:
    found = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    system = Template(found["system"]).substitute(shortest=SHORTEST, longest=LONGEST)
    return Prompt(system.strip(), Template(found["user"].strip()), Template(found["again"].strip()))


def _as_data(brief: Brief) -> str:
    """JSON without angle brackets: a value cannot close the element that holds it."""
    fields = {
        "value": brief.value,
        "language": brief.language,
        "topic": brief.topic,
        "never_say": sorted(brief.giveaways),
    }
    plain = json.dumps(fields, ensure_ascii=False)
    return plain.replace("<", "\\u003c").replace(">", "\\u003e")
