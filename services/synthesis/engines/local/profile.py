"""A voice profile: everything the engine keeps of a sample, as versioned bytes without pickle."""

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from services.synthesis.domain import VoiceNotEnrolled
from services.synthesis.engines.local.spectrum import Floats
from services.synthesis.engines.local.styles import PitchHabit
from services.synthesis.engines.local.timbre import BORROWED_CEPSTRA, FEATURES, Exemplars

_MAGIC: Final = b"NVLP"
_VERSION: Final = 1
_EMBEDDING: Final = 256
# Magic, version, nearest voice, mean and spread of the log pitch, number of exemplars.
_HEADER: Final = struct.Struct("<4sH20sffI")
_CHECKSUM: Final = struct.Struct("<I")
# 5000 frames of 10 ms are all the speech of a 60 s sample, and 0.7 MB.
MOST_EXEMPLARS: Final = 5000


@dataclass(frozen=True, slots=True)
class Profile:
    nearest_voice: str
    pitch: PitchHabit
    embedding: Floats
    exemplars: Exemplars


def pack(profile: Profile) -> bytes:
    """The same profile always gives the same bytes."""
    exemplars = _thinned(profile.exemplars)
    body = b"".join(
        [
            _HEADER.pack(
                _MAGIC,
                _VERSION,
                profile.nearest_voice.encode(),
                profile.pitch.mean,
                profile.pitch.spread,
                len(exemplars.voiced),
            ),
            profile.embedding.astype("<f2").tobytes(),
            exemplars.voiced.astype("u1").tobytes(),
            exemplars.features.astype("<f2").tobytes(),
            exemplars.cepstra.astype("<f2").tobytes(),
        ]
    )
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack(packed: bytes) -> Profile:
    """Raises VoiceNotEnrolled for bytes that `pack` of this version did not make."""
    if len(packed) < _HEADER.size + _CHECKSUM.size:
        raise VoiceNotEnrolled("This voice has to be learnt again.")
    magic, version, name, mean, spread, count = _HEADER.unpack_from(packed)
    if magic != _MAGIC or version != _VERSION:
        raise VoiceNotEnrolled("This voice has to be learnt again.")
    widths = (2 * _EMBEDDING, count, 2 * FEATURES * count, 2 * BORROWED_CEPSTRA * count)
    body = packed[: -_CHECKSUM.size]
    whole = len(body) == _HEADER.size + sum(widths)
    if not whole or _CHECKSUM.unpack(packed[-_CHECKSUM.size :]) != (zlib.crc32(body),):
        raise VoiceNotEnrolled("This voice has to be learnt again.")
    starts = _HEADER.size + np.cumsum([0, *widths])
    embedding, voiced, features, cepstra = (body[start:end] for start, end in pairwise(starts))
    return Profile(
        nearest_voice=name.rstrip(b"\0").decode(),
        pitch=PitchHabit(mean, spread),
        embedding=_floats(embedding),
        exemplars=Exemplars(
            features=_floats(features).reshape(count, FEATURES),
            cepstra=_floats(cepstra).reshape(count, BORROWED_CEPSTRA),
            voiced=np.frombuffer(voiced, dtype="u1").astype(bool),
        ),
    )


def _thinned(exemplars: Exemplars) -> Exemplars:
    """Every n-th part of a frame is left out evenly when the sample holds more than is kept."""
    count = len(exemplars.voiced)
    if count <= MOST_EXEMPLARS:
        return exemplars
    kept = np.linspace(0, count - 1, MOST_EXEMPLARS).round().astype(int)
    return Exemplars(exemplars.features[kept], exemplars.cepstra[kept], exemplars.voiced[kept])


def _floats(raw: bytes) -> Floats:
    return np.frombuffer(raw, dtype="<f2").astype(np.float32)
