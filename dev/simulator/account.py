"""One account at ElevenLabs: its voices, what it has spent, and a record of all that was done to it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from dev.simulator.chance import Chance
from dev.simulator.options import Options
from dev.simulator.plans import MODELS
from services.synthesis.engines.tone import LOWEST_HZ, MARKERS, STEP_HZ

_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789"  # pragma: allowlist secret
# Neighbours in time should not be neighbours in pitch.
_MARKER_STRIDE: Final = 37


class Refused(Exception):
    """What the provider answers instead: callers match `status`, not the HTTP code."""

    def __init__(self, code: int, status: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Voice:
    voice_id: str
    name: str
    description: str
    labels: Mapping[str, str]
    added_at: float
    # The tone that this voice speaks in, so that a listener can tell whose it is.
    marker_hz: int
    # SHA-256 of each file that it was made of.
    files: tuple[str, ...] = ()
    category: str = "cloned"


# Every account sees the vendor's own voices too; they take no slot and cannot be removed.
PREMADE: Final = tuple(
    Voice(
        f"premade{name:x<13}",
        name,
        "",
        {"accent": "american"},
        0.0,
        LOWEST_HZ + STEP_HZ * number,
        (),
        "premade",
    )
    for number, name in enumerate(("Ada", "Brook"))
)


class Account:
    def __init__(self, options: Options, chance: Chance, clock: Callable[[], float]) -> None:
        self._options = options
        self._chance = chance
        self._clock = clock
        self.voices: dict[str, Voice] = {voice.voice_id: voice for voice in PREMADE}
        self.cycle_ends = clock() + options.cycle_seconds
        self.adds_used = 0
        self.characters_used = 0
        self.speaking: Counter[bool] = Counter()
        self.effects: list[dict[str, Any]] = []
        self.most_voices = 0
        self.most_speaking: Counter[bool] = Counter()
        self._added = 0
        self._second, self._in_second = 0, 0

    @property
    def cloned(self) -> list[Voice]:
        return [voice for voice in self.voices.values() if voice.category == "cloned"]

    def admit(self) -> None:
        """Count a request. Raises Refused when there are too many in this second."""
        second = int(self._clock())
        self._in_second = self._in_second + 1 if second == self._second else 1
        self._second = second
        if self._in_second > self._options.plan.requests_per_second:
            raise system_busy()

    def add(self, name: str, description: str, labels: Mapping[str, str], files: tuple[str, ...]) -> Voice:
        slots = self._options.plan.slots
        if len(self.cloned) >= slots:
            raise Refused(
                400,
                "voice_limit_reached",
                f"Your plan's {slots} custom voices are all in use ({slots} / {slots}).",
            )
        self._spend_add()
        chance = self._chance.next("voice id")
        voice_id = "".join(chance.choices(_ALPHABET, k=20))
        marker = LOWEST_HZ + STEP_HZ * ((len(PREMADE) + self._added * _MARKER_STRIDE) % MARKERS)
        self._added += 1
        voice = Voice(voice_id, name, description, labels, self._clock(), marker, files)
        self.voices[voice_id] = voice
        self.most_voices = max(self.most_voices, len(self.cloned))
        self._record("add", voice_id, labels=dict(labels), marker_hz=marker, voices=len(self.cloned))
        return voice

    def edit(self, voice_id: str, changes: Mapping[str, Any]) -> None:
        voice = self._own(voice_id, missing_code=400)
        if self._options.edits_spend_budget:
            self._spend_add()
        self.voices[voice_id] = replace(voice, **changes)
        self._record("edit", voice_id, **changes)

    def delete(self, voice_id: str) -> None:
        self._own(voice_id, missing_code=404)
        del self.voices[voice_id]
        self._record("delete", voice_id, voices=len(self.cloned))

    @contextmanager
    def speak(self, voice_id: str, model_id: str, text: str) -> Iterator[tuple[Voice, int]]:
        """The voice and the characters it cost, for as long as it speaks. Raises Refused."""
        voice, cost = self._speakable(voice_id, model_id, text)
        fast = MODELS[model_id].fast
        if self.speaking[fast] >= self.concurrency(model_id):
            raise too_many_concurrent(self.concurrency(model_id))
        self.speaking[fast] += 1
        self.most_speaking[fast] = max(self.most_speaking[fast], self.speaking[fast])
        self.characters_used += cost
        self._record("speak", voice_id, model=model_id, characters=cost)
        try:
            yield voice, cost
        finally:
            self.speaking[fast] -= 1

    def concurrency(self, model_id: str) -> int:
        plan = self._options.plan
        return plan.concurrent_fast if MODELS[model_id].fast else plan.concurrent

    def turn_cycle(self) -> None:
        """Budgets are new when the billing cycle is."""
        while self._clock() >= self.cycle_ends:
            self.cycle_ends += self._options.cycle_seconds
            self.adds_used = self.characters_used = 0

    def _speakable(self, voice_id: str, model_id: str, text: str) -> tuple[Voice, int]:
        model = MODELS.get(model_id)
        if model is None:
            raise Refused(400, "model_not_found", f"A model with ID {model_id} does not exist.")
        if voice_id not in self.voices:
            raise voice_not_found(404, voice_id)
        if len(text) > model.characters:
            raise Refused(
                400,
                "max_character_limit_exceeded",
                f"The text has {len(text)} characters; this model takes {model.characters}.",
            )
        cost = max(1, round(len(text) * model.cost_factor))
        left = self._options.plan.characters - self.characters_used
        if cost > left:
            raise Refused(401, "quota_exceeded", f"You have {left} credits left; this request needs {cost}.")
        return self.voices[voice_id], cost

    def _own(self, voice_id: str, missing_code: int) -> Voice:
        if voice_id not in self.voices:
            raise voice_not_found(missing_code, voice_id)
        voice = self.voices[voice_id]
        if voice.category != "cloned":
            raise Refused(400, "voice_not_owned", "Only voices of your own can be changed.")
        return voice

    def _spend_add(self) -> None:
        adds = self._options.plan.adds
        if self.adds_used >= adds:
            raise Refused(
                403,
                "voice_add_edit_limit_reached",
                f"All {adds} voice additions and edits of this month are used.",
            )
        self.adds_used += 1

    def _record(self, effect: str, voice_id: str, **more: Any) -> None:
        self.effects.append({"at": self._clock(), "effect": effect, "voice_id": voice_id, **more})


def voice_not_found(code: int, voice_id: str) -> Refused:
    return Refused(code, "voice_not_found", f"A voice with the voice_id {voice_id} was not found.")


def too_many_concurrent(limit: int) -> Refused:
    return Refused(429, "too_many_concurrent_requests", f"You may have {limit} requests running at once.")


def system_busy() -> Refused:
    return Refused(429, "system_busy", "The system is under heavy load; please try again later.")
