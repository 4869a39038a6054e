"""How like the speaker does the embedded engine sound, and can it be understood?

`python -m bench.likeness [VOICE ...]`, by default all real speakers of bench/voices.py, which are fetched
from Debian's archive when they are first needed. Each is learnt from one half of the recordings and judged
against the other half. One JSON line for each voice and language, then the mean and the spread.

    same_speaker     the learnt half itself: as good as it gets
    other_speakers   the learnt halves of the other people
    default_style    the model's own voice for the language and the sex
    nearest_style    the nearest of its 54 voices, at the speaker's pitch (similarity 0)
    engine           what the product says, at the usual similarity unless another is asked for

E2 is the encoder with which the engine chooses the style, so it is a lenient judge. E1 has no part in the
engine; it judges where it is installed: `pip install --no-deps resemblyzer`.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean, stdev
from time import perf_counter, process_time
from typing import Final

import numpy as np

from bench import report
from bench.listening import Listener, listening, word_error_rate
from bench.resemblyzer_judge import ResemblyzerJudge, installed_weights
from bench.voices import SPEAKERS, Speaker, VoicesNotFetched, floats, halves, sixteen_bit, speakers
from services.synthesis.engines.local.clauses import Clause, clauses
from services.synthesis.engines.local.reading import phonemes_of
from services.synthesis.engines.local.seams import fitted
from services.synthesis.engines.local.speaker import likeness
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats
from services.synthesis.engines.local.styles import native_voice
from services.synthesis.engines.local.voice import Line, VoiceBox, within_limit

USUAL_SIMILARITY: Final = 0.75
# About a hundred characters each, as long as a voice memo is.
NOTES: Final = {
    "en": (
        "Good morning, I woke up with the Queen of Hearts in my head, and I really can't say why that is.",
        "I keep thinking about an old friend from the coast, someone called Veronica, and her little boat.",
        "Strange night, I dreamt about a long black train and a very small garden. Somebody was waiting.",
        "Funny thing, the number seven has followed me around since breakfast, on doors and on tickets.",
    ),
    "es": (
        "Buenos días, me desperté pensando en la reina de corazones, y la verdad es que no sé por qué.",
        "No dejo de pensar en una vieja amiga de la costa, una tal Verónica, y en su pequeña barca azul.",
        "Qué noche tan rara, soñé con un tren muy largo y un jardín pequeño. Alguien me esperaba allí.",
        "Qué curioso, el número siete me sigue a todas partes desde el desayuno, en puertas y en billetes.",
    ),
}


@dataclass(slots=True)
class Judge:
    name: str
    embed: Callable[[Floats], Floats]
    _known: dict[tuple[str, str], Floats] = field(default_factory=dict)

    def person(self, speaker: Speaker, half: str) -> Floats:
        """The embedding of one of a speaker's halves, computed once."""
        key = speaker.name, half
        if key not in self._known:
            self._known[key] = self.embed(getattr(halves(speaker), half))
        return self._known[key]


@dataclass(slots=True)
class Figures:
    """Of one voice in one language, by the name of what was measured."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.taken.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        return {name: round(fmean(values), 3) for name, values in self.taken.items()}


@dataclass(frozen=True, slots=True)
class Court:
    """The engine's parts in this process, and everybody who judges them."""

    box: VoiceBox
    judges: list[Judge]
    listener: Listener | None
    notes: int
    similarity: float = USUAL_SIMILARITY
    own: dict[tuple[str, str], Floats] = field(default_factory=dict)

    def try_voice(self, speaker: Speaker, language: str) -> Figures:
        figures, sample = Figures(), sixteen_bit(halves(speaker).enrol)
        self._baselines(figures, speaker)
        profile = self.box.enrol(sample, SAMPLE_RATE)
        for note in NOTES[language][: self.notes]:
            takes = {
                "default_style": partial(self.own_voice, note, language, speaker.sex),
                "nearest_style": partial(engine, self.box, profile, note, language, 0.0),
                "engine": partial(self._timed_engine, figures, profile, note, language),
            }
            # The listener knows English only.
            self._try_note(figures, speaker, takes, note if language == "en" else "")
        return figures

    def _baselines(self, figures: Figures, speaker: Speaker) -> None:
        strangers = [other for other in SPEAKERS if other.person != speaker.person]
        for judge in self.judges:
            person = judge.person(speaker, "judge")
            figures.add(f"{judge.name}_same_speaker", likeness(judge.person(speaker, "enrol"), person))
            for stranger in strangers:
                alike = likeness(judge.person(stranger, "enrol"), person)
                figures.add(f"{judge.name}_other_speakers", alike)

    def _try_note(
        self, figures: Figures, speaker: Speaker, takes: Mapping[str, Callable[[], Floats]], said: str
    ) -> None:
        for name, take in takes.items():
            speech = take()
            for judge in self.judges:
                alike = likeness(judge.embed(speech), judge.person(speaker, "judge"))
                figures.add(f"{judge.name}_{name}", alike)
            if said and self.listener:
                figures.add(f"wer_{name}", word_error_rate(said, self.listener.heard(speech)))

    def _timed_engine(self, figures: Figures, profile: bytes, note: str, language: str) -> Floats:
        began, used = perf_counter(), process_time()
        speech = engine(self.box, profile, note, language, self.similarity)
        audio_seconds = len(speech) / SAMPLE_RATE
        figures.add("real_time_factor", (perf_counter() - began) / audio_seconds)
        figures.add("cpu_seconds_per_audio_second", (process_time() - used) / audio_seconds)
        return speech

    def own_voice(self, note: str, language: str, sex: str) -> Floats:
        """The same for everybody of this sex, so it is spoken once."""
        voice = native_voice(language, sex)
        if (note, voice) not in self.own:
            spoken = [
                fitted(
                    np.concatenate(
                        [self.box.speak_as_model(part, voice) for part in parts(clause, language)]
                    ),
                    clause.pause_seconds,
                )
                for clause in clauses(note)
            ]
            self.own[note, voice] = floats(b"".join(spoken))
        return self.own[note, voice]


def engine(box: VoiceBox, profile: bytes, note: str, language: str, similarity: float) -> Floats:
    """Clause by clause, as the service does it."""

    def line(clause: Clause) -> Line:
        return Line(clause.text, language, similarity=similarity, pause_seconds=clause.pause_seconds)

    return floats(b"".join(box.speak(profile, line(clause)) for clause in clauses(note)))


def parts(clause: Clause, language: str) -> list[str]:
    return within_limit(phonemes_of(clause.text, language))


def summed_up(trials: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean over voices and spread between them, of what was measured for all."""
    names = [name for name in trials[0] if all(name in trial for trial in trials)]
    columns = {name: [trial[name] for trial in trials] for name in names}
    return {
        name: {
            "mean": round(fmean(values), 3),
            "spread": round(stdev(values), 3) if len(values) > 1 else 0.0,
        }
        for name, values in columns.items()
    }


def table(language: str, trials: dict[str, dict[str, float]]) -> str:
    """Markdown: a row for each voice, one for the mean and one for the spread."""
    summary = summed_up(list(trials.values()))
    shown = list(summary)
    rows = {name: [trial[column] for column in shown] for name, trial in trials.items()}
    rows["**mean**"] = [summary[column]["mean"] for column in shown]
    rows["spread"] = [summary[column]["spread"] for column in shown]
    lines = [
        f"| {language} | " + " | ".join(name.replace("_", " ") for name in shown) + " |",
        "|---" * (len(shown) + 1) + "|",
        *(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |" for name, row in rows.items()),
    ]
    return "\n".join(lines)


def try_all(court: Court, chosen: list[Speaker], languages: list[str], *, as_table: bool) -> None:
    court.box.warm_up()
    for language in languages:
        trials: dict[str, dict[str, float]] = {}
        for speaker in chosen:
            means = trials[speaker.name] = court.try_voice(speaker, language).means()
            report.line(
                bench="likeness",
                voice=speaker.name,
                speaks=speaker.language,
                recorded_at_hz=speaker.rate,
                language=language,
                load_average=round(os.getloadavg()[0], 1),
                **means,
            )
        measured = summed_up(list(trials.values()))
        report.line(
            bench="likeness",
            voices=len(trials),
            language=language,
            notes=court.notes,
            similarity=court.similarity,
            **measured,
        )
        if as_table:
            print(f"\n{table(language, trials)}\n", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("voices", nargs="*", help=", ".join(speaker.name for speaker in SPEAKERS))
    arguments.add_argument("--languages", nargs="+", choices=list(NOTES), default=list(NOTES))
    arguments.add_argument("--notes", type=int, choices=range(1, 5), default=4)
    arguments.add_argument("--similarity", type=float, default=USUAL_SIMILARITY)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--table", action="store_true", help="also as Markdown")
    asked = arguments.parse_args()
    box = VoiceBox(asked.threads)
    judges = [Judge("e2", box.embed)]
    if weights := installed_weights():
        judges.append(Judge("e1", ResemblyzerJudge(weights).embed))
    try:
        chosen = speakers(asked.voices)
        with listening() as listener:
            court = Court(box, judges, listener, asked.notes, asked.similarity)
            try_all(court, chosen, asked.languages, as_table=asked.table)
    except VoicesNotFetched as refused:
        raise SystemExit(str(refused)) from refused


if __name__ == "__main__":
    main()
