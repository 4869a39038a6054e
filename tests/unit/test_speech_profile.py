import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.synthesis.domain import VoiceNotEnrolled
from services.synthesis.engines.local.profile import MOST_EXEMPLARS, Profile, pack, unpack
from services.synthesis.engines.local.styles import PitchHabit
from services.synthesis.engines.local.timbre import BORROWED_CEPSTRA, FEATURES, Exemplars


def profile(exemplars: int = 200, seed: int = 0) -> Profile:
    chance = np.random.default_rng(seed)
    return Profile(
        nearest_voice="am_michael",
        pitch=PitchHabit(mean=4.75, spread=0.25),
        embedding=chance.normal(size=256).astype(np.float16).astype(np.float32),
        exemplars=Exemplars(
            features=chance.normal(size=(exemplars, FEATURES)).astype(np.float16).astype(np.float32),
            cepstra=chance.normal(size=(exemplars, BORROWED_CEPSTRA)).astype(np.float16).astype(np.float32),
            voiced=chance.random(exemplars) > 0.4,
        ),
    )


@given(st.integers(0, 400), st.integers(0, 5))
def test_what_is_packed_is_unpacked(exemplars: int, seed: int) -> None:
    packed = profile(exemplars, seed)
    unpacked = unpack(pack(packed))
    assert unpacked.nearest_voice == packed.nearest_voice
    assert unpacked.pitch == packed.pitch
    np.testing.assert_array_equal(unpacked.embedding, packed.embedding)
    np.testing.assert_array_equal(unpacked.exemplars.features, packed.exemplars.features)
    np.testing.assert_array_equal(unpacked.exemplars.cepstra, packed.exemplars.cepstra)
    np.testing.assert_array_equal(unpacked.exemplars.voiced, packed.exemplars.voiced)


def test_the_same_profile_gives_the_same_bytes() -> None:
    assert pack(profile()) == pack(profile())
    assert pack(profile()) != pack(profile(seed=1))


def test_a_long_sample_is_thinned_to_under_a_megabyte() -> None:
    packed = pack(profile(exemplars=3 * MOST_EXEMPLARS))
    assert len(packed) < 1_000_000
    assert len(unpack(packed).exemplars.voiced) == MOST_EXEMPLARS


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(garbage: bytes) -> None:
    with pytest.raises(VoiceNotEnrolled):
        unpack(garbage)


@given(st.data())
def test_a_profile_with_one_wrong_byte_is_refused(data: st.DataObject) -> None:
    packed = bytearray(pack(profile(exemplars=40)))
    position = data.draw(st.integers(0, len(packed) - 1))
    packed[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VoiceNotEnrolled):
        unpack(bytes(packed))


@given(st.integers(0, 5000))
def test_a_truncated_profile_is_refused(length: int) -> None:
    packed = pack(profile(exemplars=40))
    with pytest.raises(VoiceNotEnrolled):
        unpack(packed[: min(length, len(packed) - 1)])
