from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.voice.domain import Attempt, Clone, Consent, Sample, SealedBlob, Voice

NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def attempt(number: int, now: datetime) -> Attempt:
    return Attempt(f"attempt-{number}", "local", now + MINUTE)


def made_by(made: Attempt, now: datetime) -> tuple[Sample, Clone]:
    audio, profile = SealedBlob(made.audio_name, "k"), SealedBlob(made.profile_name, "k")
    sample = Sample(f"hash of {made.attempt_id}", 36.0, 9, False, audio, Consent("", now, ""))
    return sample, Clone(
        made.attempt_id, "local", "tone", made.attempt_id, "local_clone", False, profile, now
    )


def blobs_of(made: Attempt) -> set[str]:
    return {made.audio_name, made.profile_name}


def blobs_named(voice: Voice) -> set[str]:
    """Everything that the document knows of and that somebody will therefore use or remove."""
    named = {name for left in voice.leftovers for name in left.blobs}
    if voice.sample:
        named.add(voice.sample.audio.name)
    if voice.clone and voice.clone.profile:
        named.add(voice.clone.profile.name)
    return named | (blobs_of(voice.attempt) if voice.attempt else set())


@given(steps=st.lists(st.sampled_from(["claim", "hold", "abandon", "erase", "clean"]), max_size=30))
def test_no_blob_is_ever_forgotten_and_revisions_only_grow(steps: list[str]) -> None:
    voice, now, exist = Voice("ada"), NOW, set[str]()
    for number, step in enumerate(steps):
        before = voice
        now += timedelta(seconds=25) * (number % 3)
        if step == "claim" and not voice.is_claimed(now):
            voice = voice.claimed(attempt(number, now), now)
            exist |= blobs_of(attempt(number, now))
        elif step == "hold" and voice.attempt:
            voice = voice.holding(*made_by(voice.attempt, now), now)
        elif step == "abandon":
            voice = voice.abandoned(now)
        elif step == "erase":
            voice = voice.erased(now)
        elif step == "clean":
            # What an attempt may yet make again is named until it cannot any more.
            gone = [left for left in voice.leftovers if not left.until or left.until <= now]
            exist -= {name for left in gone for name in left.blobs}
            voice = voice.cleaned(now)
        assert blobs_named(voice) == exist
        assert voice is before or voice.revision > before.revision
        assert (voice.sweep_at is not None) == bool(voice.leftovers or voice.attempt)
        assert voice.empty == (not exist)


def test_an_attempt_that_expired_gives_way_and_is_cleaned_up_after() -> None:
    dead = Voice("ada").claimed(attempt(1, NOW), NOW)
    assert dead.is_claimed(NOW + MINUTE / 2)
    assert not dead.is_claimed(NOW + MINUTE)
    second = dead.claimed(attempt(2, NOW + MINUTE), NOW + MINUTE)
    assert {name for left in second.leftovers for name in left.blobs} == blobs_of(attempt(1, NOW))
    assert second.attempt == attempt(2, NOW + MINUTE)


def test_the_fence_grows_with_the_voice_and_not_with_what_is_tried() -> None:
    first = attempt(1, NOW)
    held = Voice("ada").claimed(first, NOW).holding(*made_by(first, NOW), NOW)
    tried = held.claimed(attempt(2, NOW), NOW).abandoned(NOW).cleaned(NOW)
    assert tried.fence == held.fence > 0
    assert tried.erased(NOW).fence > held.fence


def test_revisions_grow_over_an_erasure_because_they_follow_the_clock() -> None:
    before = Voice("ada").claimed(attempt(1, NOW), NOW).erased(NOW).cleaned(NOW)
    later = NOW + timedelta(seconds=1)
    assert Voice("ada").claimed(attempt(2, later), later).revision > before.revision


def test_a_voice_is_the_same_only_for_the_same_sample_and_engine() -> None:
    first = attempt(1, NOW)
    held = Voice("ada").claimed(first, NOW).holding(*made_by(first, NOW), NOW)
    assert held.is_made_of("hash of attempt-1", "tone")
    assert not held.is_made_of("hash of attempt-1", "local")
    assert not held.is_made_of("another hash", "tone")
    assert not Voice("ada").is_made_of("", "tone")
    assert (Voice("ada").state, held.state) == ("none", "ready")
