"""Give speech the timbre of a sample: each frame borrows the spectral envelope of its nearest exemplars.

No vocoder: the speech keeps its own phases and harmonics and only has its envelope reshaped, so
nothing buzzes and a bad match costs likeness, not intelligibility.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.synthesis.engines.local.spectrum import (
    Analysis,
    Bools,
    Floats,
    analyse,
    band_centres_hz,
    bin_hz,
    cosine_rows,
    resynthesise,
)

# Matching looks at the coarse envelope, whose shape says which sound it is.
MATCHED_CEPSTRA: Final = 15
FEATURES: Final = 2 * MATCHED_CEPSTRA
# What is borrowed is finer than what is matched.
BORROWED_CEPSTRA: Final = 39
NEIGHBOURS: Final = 4
GAIN_LIMIT_DB: Final = 20.0
_SMOOTHING_FRAMES: Final = 3
_DB_PER_NEPER_OF_POWER: Final = 10 / np.log(10)
_FEWEST_EXEMPLARS: Final = 30


@dataclass(frozen=True, slots=True)
class Exemplars:
    """The active frames of a sample: what each sounds like, and the envelope it lends."""

    features: Floats
    cepstra: Floats
    voiced: Bools


def exemplars_of(sample: Analysis) -> Exemplars:
    active = sample.active
    return Exemplars(
        features=_features(sample)[active],
        cepstra=sample.cepstra[active, 1 : BORROWED_CEPSTRA + 1],
        voiced=sample.voiced[active],
    )


def transfer(speech: Floats, exemplars: Exemplars, strength: float) -> Floats:
    """The same words, pitch, length and level in the exemplars' timbre; strength 0 changes nothing."""
    if not len(speech) or strength <= 0:
        return speech
    analysis = analyse(speech)
    gain = envelope_gain(analysis, exemplars, strength)
    reshaped = resynthesise(analysis.spectrum * np.exp(gain / 2), len(speech))
    level = np.sqrt(np.mean(np.square(speech)) / (np.mean(np.square(reshaped)) + 1e-12))
    return np.asarray(reshaped * level, dtype=np.float32)


def envelope_gain(analysis: Analysis, exemplars: Exemplars, strength: float) -> Floats:
    """Log power gain for each frame and bin; its shape is within the limit, its energy zero."""
    difference = _smoothed(_borrowed_difference(analysis, exemplars))
    limit = GAIN_LIMIT_DB / _DB_PER_NEPER_OF_POWER
    per_band = limit * np.tanh(strength * (difference @ cosine_rows()[1 : BORROWED_CEPSTRA + 1]) / limit)
    per_bin = _bands_to_bins(per_band.astype(np.float32))
    before = np.log(analysis.power.sum(axis=1) + 1e-9)
    after = np.log((analysis.power * np.exp(per_bin)).sum(axis=1) + 1e-9)
    return np.asarray(per_bin + np.clip(before - after, -7, 7)[:, None], dtype=np.float32)


def _features(analysis: Analysis) -> Floats:
    """Cepstra and their slope, in units of this speaker's own voiced loud frames."""
    cepstra = analysis.cepstra[:, 1 : MATCHED_CEPSTRA + 1]
    slope = np.gradient(cepstra, axis=0) if len(cepstra) > 1 else np.zeros_like(cepstra)
    loud = analysis.level_db > np.percentile(analysis.level_db, 98) - 30
    reference = analysis.voiced & loud
    if reference.sum() < 2:
        reference = np.ones_like(loud)
    mean, spread = cepstra[reference].mean(axis=0), cepstra[reference].std(axis=0) + 1e-6
    slope_spread = slope[reference].std(axis=0) + 1e-6
    return np.hstack([(cepstra - mean) / spread, 0.5 * slope / slope_spread]).astype(np.float32)


def _borrowed_difference(analysis: Analysis, exemplars: Exemplars) -> Floats:
    difference = np.zeros((len(analysis.cepstra), BORROWED_CEPSTRA), dtype=np.float32)
    features = _features(analysis)
    for voicing in (True, False):
        spoken = np.flatnonzero(analysis.voiced == voicing)
        lent = np.flatnonzero(exemplars.voiced == voicing)
        if len(lent) < _FEWEST_EXEMPLARS or not len(spoken):
            continue
        nearest = _nearest(features[spoken], exemplars.features[lent])
        borrowed = exemplars.cepstra[lent][nearest].mean(axis=1)
        difference[spoken] = borrowed - analysis.cepstra[spoken, 1 : BORROWED_CEPSTRA + 1]
    return difference


def _nearest(wanted: Floats, offered: Floats) -> NDArray[np.int64]:
    squared_distance = np.square(offered).sum(axis=1)[None] - 2 * wanted @ offered.T
    return np.argpartition(squared_distance, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def _smoothed(rows: Floats) -> Floats:
    """Averaged over neighbouring frames, so that a change of exemplar does not click."""
    weights = np.hanning(_SMOOTHING_FRAMES + 2)[1:-1]
    weights /= weights.sum()
    reach = _SMOOTHING_FRAMES // 2
    padded = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    shifted = (weight * padded[shift : shift + len(rows)] for shift, weight in enumerate(weights))
    return np.asarray(sum(shifted), dtype=np.float32)


def _bands_to_bins(per_band: Floats) -> Floats:
    """Linear interpolation between band centres, flat beyond the first and the last."""
    centres, bins = band_centres_hz(), bin_hz()
    right = np.clip(np.searchsorted(centres, bins), 1, len(centres) - 1)
    left = right - 1
    share = np.clip((bins - centres[left]) / (centres[right] - centres[left]), 0, 1)
    return np.asarray(per_band[:, left] * (1 - share) + per_band[:, right] * share, dtype=np.float32)
