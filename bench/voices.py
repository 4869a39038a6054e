"""Real speakers to measure with: the demo's reader, and people whose recordings Debian distributes.

The packages are fetched with `apt-get download` into var/voices when they are first asked for, and
only unpacked there, never installed. Their recordings are not ours to pass on and are not committed.
"""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

import av
import numpy as np

from services.synthesis.engines.local.seams import speech_level_dbfs
from services.synthesis.engines.local.spectrum import SAMPLE_RATE, Floats

ROOT: Final = Path(__file__).parents[1]
DEMO: Final = ROOT / "demo" / "two-cities.mp3"
FETCHED: Final = ROOT / "var" / "voices"
HALF_SECONDS: Final = 30
# Shorter recordings are single words and beeps.
_FEWEST_SECONDS: Final = 1.5
_LEVEL_DBFS: Final = -20.0
_ASTERISK: Final = "asterisk/sounds"
_FISH: Final = "games/fillets-ng/sound"


class VoicesNotFetched(Exception):
    """A package with recordings could not be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """`recordings` is a pattern under the package's /usr/share. Two names may be one `person`."""

    name: str
    person: str
    language: str
    sex: str
    rate: int
    package: str
    recordings: str


@dataclass(frozen=True, slots=True)
class Halves:
    """Different recordings of one speaker, about as long: one to learn from, one to judge by."""

    enrol: Floats
    judge: Floats


def _asterisk(name: str, person: str, language: str, sex: str, folder: str) -> Speaker:
    package = f"asterisk-core-sounds-{language[:2]}-g722"
    recordings = f"{_ASTERISK}/{folder}/*.g722"
    return Speaker(name, person, language, sex, 16_000, package, recordings)


def _fish(language: str, sex: str, letter: str) -> Speaker:
    """A small and a big fish, told apart by a letter in the file's name; in Dutch both are one actor."""
    name, package = f"fish-{language}-{sex}", f"fillets-ng-data-{language}"
    return Speaker(name, name, language, sex, 22_050, package, f"{_FISH}/*/{language}/*-{letter}-*.ogg")


SPEAKERS: Final = (
    Speaker("two-cities", "two-cities", "en", "m", 44_100, "", str(DEMO)),
    _asterisk("allison", "allison", "en", "f", "en_US_f_Allison"),
    _asterisk("allison-es", "allison", "es", "f", "es_MX_f_Allison"),
    _asterisk("june", "june", "fr", "f", "fr_CA_f_June"),
    _asterisk("carlo", "carlo", "it", "m", "it_IT_m_Carlo"),
    _asterisk("ivrvoice", "ivrvoice", "ru", "f", "ru_RU_f_IvrvoiceRU"),
    Speaker(
        "menardi",
        "menardi",
        "it",
        "f",
        8_000,
        "asterisk-prompt-it-menardi-wav",
        f"{_ASTERISK}/it_IT_f_Menardi/*.wav",
    ),
    Speaker(
        "austen",
        "austen",
        "en",
        "m",
        16_000,
        "pocketsphinx-testdata",
        "pocketsphinx/test/data/librivox/*.wav",
    ),
    _fish("nl", "m", "v"),
    _fish("cs", "f", "m"),
    _fish("cs", "m", "v"),
)


def speakers(names: list[str]) -> list[Speaker]:
    """Those asked for, or all."""
    unknown = set(names) - {speaker.name for speaker in SPEAKERS}
    if unknown:
        raise VoicesNotFetched(f"no such voice: {', '.join(sorted(unknown))}")
    return [speaker for speaker in SPEAKERS if not names or speaker.name in names]


@cache
def halves(speaker: Speaker) -> Halves:
    if not speaker.package:
        whole = _levelled(decoded(DEMO))
        return Halves(whole[: len(whole) // 2], whole[len(whole) // 2 :])
    found = sorted(_fetched(speaker.package).glob(speaker.recordings))
    # Every other recording, so that neither half has one subject or one day for itself.
    enrol, judge = (_joined(found[start::2]) for start in (0, 1))
    return Halves(_levelled(enrol), _levelled(judge))


def decoded(path: Path) -> Floats:
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().ravel() for frame in frames]).astype(np.float32)


def sixteen_bit(signal: Floats) -> bytes:
    return np.round(np.clip(signal, -1, 1) * 32767).astype("<i2").tobytes()


def floats(pcm: bytes) -> Floats:
    return np.asarray(np.frombuffer(pcm, "<i2") / 32768, dtype=np.float32)


def _joined(files: list[Path]) -> Floats:
    """As many of them, from all over the list, as make one half."""
    # Neighbours in name are neighbours in words ("hour", "hours").
    spread = [files[at] for at in np.random.default_rng(1).permutation(len(files))]
    chosen, wanted = [], HALF_SECONDS * SAMPLE_RATE
    for signal in _long_enough(spread):
        chosen.append(signal)
        wanted -= len(signal)
        if wanted <= 0:
            break
    return np.concatenate(chosen)[: HALF_SECONDS * SAMPLE_RATE]


def _long_enough(files: list[Path]) -> Iterator[Floats]:
    signals = (decoded(file) for file in islice(files, 200) if file.stat().st_size > 4_000)
    return (signal for signal in signals if len(signal) >= _FEWEST_SECONDS * SAMPLE_RATE)


def _levelled(signal: Floats) -> Floats:
    gain = 10 ** ((_LEVEL_DBFS - speech_level_dbfs(signal)) / 20)
    return np.asarray(np.clip(signal * gain, -1, 1), dtype=np.float32)


def _fetched(package: str) -> Path:
    """The package's /usr/share, downloaded and unpacked unless it is there."""
    unpacked = FETCHED / package
    if not unpacked.is_dir():
        tools = [shutil.which(tool) for tool in ("apt-get", "dpkg")]
        if None in tools:
            raise VoicesNotFetched(
                f"{package} is a Debian package and this system has no apt: run the bench on Debian or "
                f"Ubuntu, or unpack the package into {unpacked}"
            )
        partial = FETCHED / f"{package}.partial"
        partial.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", package], partial)
        for archive in partial.glob("*.deb"):
            _run(["dpkg", "-x", archive.name, "."], partial)
            archive.unlink()
        partial.rename(unpacked)
    return unpacked / "usr" / "share"


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise VoicesNotFetched(f"`{' '.join(command)}` failed ({reason[0]}); try `apt-get update` first")
