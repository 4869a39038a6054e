"""A steady tone instead of a voice, for tests and for measuring everything around an engine.

Never a product voice: no setting that a deployment may use selects it.
"""

import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np

from services.synthesis.domain import EnrolledVoice, LanguageNotSpoken, Utterance, VoiceNotEnrolled

SECONDS_PER_CHARACTER: Final = 0.06
LOWEST_HZ: Final = 300
STEP_HZ: Final = 10
MARKERS: Final = 201
_RATE: Final = 24_000
_PROFILE: Final = re.compile(rb"newvisions-tone/1 (\d{3,4}) Hz")
# Every marker is a multiple of STEP_HZ, so this many samples hold whole periods of each of them.
_LOOP_SAMPLES: Final = _RATE // STEP_HZ


class ToneEngine:
    """Each sample gets one of 201 tones, so a test can hear whose voice it was given."""

    name = "tone"
    sample_rate = _RATE

    async def start(self) -> None:
        """Nothing to load."""

    async def enrol(self, pcm: bytes, sample_rate: int) -> bytes:
        digest = hashlib.sha256(sample_rate.to_bytes(4, "big") + pcm).digest()
        marker = LOWEST_HZ + STEP_HZ * (int.from_bytes(digest[:8], "big") % MARKERS)
        return b"newvisions-tone/1 %d Hz" % marker

    async def speak(self, utterance: Utterance, voice: EnrolledVoice) -> AsyncGenerator[bytes, None]:
        hz = marker_hz(voice.profile)
        if utterance.language.split("-")[0].lower() not in ("en", "es"):
            raise LanguageNotSpoken(f"no voice speaks {utterance.language!r}")
        loop = _loop(hz)
        seconds = SECONDS_PER_CHARACTER * len(utterance.text) / utterance.delivery.speed
        samples = round(seconds * _RATE)
        while samples > 0:
            # A second at a time: memory stays flat however long the text is.
            chunk = min(samples, _RATE)
            yield (loop * (chunk // _LOOP_SAMPLES + 1))[: 2 * chunk]
            samples -= chunk

    async def speak_as_written(
        self, utterance: Utterance, further: AsyncIterator[str], voice: EnrolledVoice
    ) -> AsyncGenerator[bytes, None]:
        async for pcm in self.speak(utterance, voice):
            yield pcm
        async for text in further:
            async for pcm in self.speak(replace(utterance, text=text), voice):
                yield pcm

    async def close(self) -> None:
        """Nothing to release."""


def marker_hz(profile: bytes) -> float:
    """The tone that this profile speaks in. Raises VoiceNotEnrolled."""
    found = _PROFILE.fullmatch(profile)
    if not found:
        raise VoiceNotEnrolled("the profile is not one of the tone engine's")
    hz = int(found[1])
    if (hz - LOWEST_HZ) % STEP_HZ or not 0 <= (hz - LOWEST_HZ) // STEP_HZ < MARKERS:
        raise VoiceNotEnrolled("the profile names a tone that no sample is given")
    return float(hz)


def heard_hz(pcm: bytes, rate: int) -> float:
    """The strongest frequency in 16-bit mono audio, between two bins when it falls there."""
    signal = np.frombuffer(pcm, dtype="<i2").astype(np.float64)
    magnitude = np.abs(np.fft.rfft(signal * np.hanning(len(signal))))
    peak = int(magnitude[1:-1].argmax()) + 1
    left, centre, right = np.log(magnitude[peak - 1 : peak + 2] + 1e-9)
    curvature = left - 2 * centre + right
    offset = 0.5 * (left - right) / curvature if curvature else 0.0
    return float((peak + offset) * rate / len(signal))


@lru_cache(maxsize=MARKERS)
def _loop(hz: float) -> bytes:
    phase = 2 * np.pi * hz * np.arange(_LOOP_SAMPLES) / _RATE
    return (0.25 * 32767 * np.sin(phase)).astype("<i2").tobytes()
