"""The rule of what a sample is.

A recording is accepted when somebody speaks for 30 to 60 seconds in it:
- measured from the first to the last word; silence and noise around that is cut away;
- up to two seconds over a minute are cut off instead of refused, because recorders stop late;
- at least half of that stretch must be speech to a voice activity detector: ordinary reading and
  talking have 65 to 85 percent, the rest being the pauses between words;
- it must be loud enough for the voice to stand clear of the noise, and not distorted by too high a level;
- speech must stand at least 13 dB above the background (`noise.py`), or the clone speaks with the noise.
  Measured on seven readers of studios, telephones and LibriVox: 27 to 60 dB as they are, and with white
  noise, pink noise, a fan, music or babble added to each, all are accepted at 12 dB and more, and all
  are refused at 8 dB and less but for one in babble, which leaves quiet gaps of its own.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.voice.refusals import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    SampleClipped,
    SampleNoisy,
    SampleNotSpeech,
    SampleSilent,
    SampleTooLong,
    SampleTooQuiet,
    SampleTooShort,
    SampleUnreadable,
)
from services.voice.sample.decoding import MOST_SECONDS, RATE, Decoded, Signal, decode
from services.voice.sample.encoding import to_mp3, to_pcm
from services.voice.sample.loudness import loudness, normalised
from services.voice.sample.media import demuxer_of
from services.voice.sample.speech import Speech, find_speech

_GRACE_SECONDS: Final = 2.0
_LEAST_SPEECH_SHARE: Final = 0.5
# Less than this is coughs and chance hits of the detector.
_LEAST_SPOKEN_SECONDS: Final = 3.0
# Less than a second is what a decoder makes of noise that happens to look like audio.
_LEAST_SECONDS: Final = 1.0
_SILENT_PEAK: Final = 10 ** (-60 / 20)
_SILENT_LUFS: Final = -65.0
_QUIET_LUFS: Final = -50.0
_CLIPPED_SHARE: Final = 0.005
_LEAST_CLEARANCE_DB: Final = 13.0
# Containers round; a file that lacks more than this was cut.
_MISSING_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Examined:
    """A normalised sample: 16-bit mono PCM at RATE, and the MP3 that is stored."""

    pcm: bytes
    mp3: bytes
    seconds: float
    transcoded: bool

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.pcm).hexdigest()


def examine(recording: bytes) -> Examined:
    """Raises a SampleRefused."""
    if not recording:
        raise SampleUnreadable("The recording is empty.")
    demuxer = demuxer_of(recording)
    decoded = decode(recording, demuxer)
    _refuse_unusable(decoded)
    speech = find_speech(decoded.signal)
    _refuse_other_than_speech(speech, decoded)
    sample = normalised(_stretch(decoded.signal, speech))
    return Examined(to_pcm(sample), to_mp3(sample), len(sample) / RATE, transcoded=demuxer != "mp3")


def reread(mp3: bytes) -> Examined:
    """A sample that was stored, without a verdict. Raises SampleUnreadable."""
    decoded = decode(mp3, "mp3")
    return Examined(to_pcm(decoded.signal), mp3, decoded.seconds, transcoded=False)


def _refuse_unusable(decoded: Decoded) -> None:
    if decoded.seconds < _LEAST_SECONDS:
        raise SampleUnreadable("There is no sound in this file that can be read.")
    heard = loudness(decoded.signal)
    if float(np.abs(decoded.signal).max()) < _SILENT_PEAK or heard < _SILENT_LUFS:
        raise SampleSilent("Nothing can be heard in this recording.")
    if decoded.cut_off:
        raise SampleTooLong(f"The recording is longer than {MOST_SECONDS} s; a sample has 30 to 60 s.")
    missing = decoded.declared_seconds - decoded.seconds
    if decoded.seconds < SHORTEST_SECONDS and missing > _MISSING_SECONDS:
        raise SampleUnreadable(f"The file breaks off after {decoded.seconds:.0f} s; the rest is missing.")
    if decoded.seconds < SHORTEST_SECONDS:
        raise SampleTooShort(f"The recording has only {decoded.seconds:.0f} s; a sample has 30 to 60 s.")
    if decoded.clipped_share > _CLIPPED_SHARE:
        raise SampleClipped("The recording is distorted: it was too loud for the microphone.")
    if heard < _QUIET_LUFS:
        raise SampleTooQuiet(f"The recording is too quiet ({heard:.0f} LUFS; at least {_QUIET_LUFS:.0f}).")


def _refuse_other_than_speech(speech: Speech, decoded: Decoded) -> None:
    if speech.spoken_seconds < _LEAST_SPOKEN_SECONDS:
        raise SampleNotSpeech("No speech was found in this recording.")
    # Before its share: words that are lost in noise are not found.
    if speech.clearance_db < _LEAST_CLEARANCE_DB:
        raise SampleNoisy(
            f"The background is too loud: the voice stands {max(speech.clearance_db, 0):.0f} dB above it;"
            f" at least {_LEAST_CLEARANCE_DB:.0f} dB are needed."
        )
    if speech.share < _LEAST_SPEECH_SHARE:
        raise SampleNotSpeech(f"Only {speech.share:.0%} of the recording is speech; at least half must be.")
    if speech.seconds < SHORTEST_SECONDS:
        raise SampleTooShort(
            f"Only {speech.seconds:.0f} s of speech were found in {decoded.seconds:.0f} s;"
            " a sample has 30 to 60 s."
        )
    if speech.seconds > LONGEST_SECONDS + _GRACE_SECONDS:
        raise SampleTooLong(f"There are {speech.seconds:.0f} s of speech; a sample has 30 to 60 s.")


def _stretch(signal: Signal, speech: Speech) -> Signal:
    start = round(speech.start * RATE)
    end = min(round(speech.end * RATE), start + round(LONGEST_SECONDS * RATE))
    return signal[start:end]
