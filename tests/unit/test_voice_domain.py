from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.voice.domain import Attempt, Clone, Consent, Sample, SealedBlob, Voice

NOW = datetime(2030, 5, 4, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def attempt(number: int, now: datetime) -> Attempt:
    return Attempt(f"attempt-{number}", "local", now + MINUTE)


def cloned_by(made: Attempt, now: datetime, *, in_pool: bool = False) -> Clone:
    profile = None if in_pool else SealedBlob(made.profile_name, "k")
    provider, source = ("remote", "provider_voice_id") if in_pool else ("local", "local_clone")
    named = f"voice-{made.attempt_id}"
    return Clone(made.attempt_id, provider, "tone", named, source, in_pool, profile, now)


def made_by(made: Attempt, now: datetime, *, in_pool: bool = False) -> tuple[Sample, Clone]:
    audio = SealedBlob(made.audio_name, "k")
    sample = Sample(f"hash of {made.attempt_id}", 36.0, 9, False, audio, Consent("", now, ""))
    return sample, cloned_by(made, now, in_pool=in_pool)


def held_by(number: int, *, in_pool: bool = False) -> Voice:
    made = attempt(number, NOW)
    return Voice("ada").claimed(made, NOW).holding(*made_by(made, NOW, in_pool=in_pool), NOW)


def blobs_of(made: Attempt) -> set[str]:
    return {made.audio_name, made.profile_name}


def blobs_named(voice: Voice) -> set[str]:
    """Everything that the document knows of and that somebody will therefore use or remove."""
    named = {name for left in voice.leftovers for name in left.blobs}
    if voice.sample:
        named.add(voice.sample.audio.name)
    named |= {clone.profile.name for clone in (voice.clone, voice.standby) if clone and clone.profile}
    return named | (blobs_of(voice.attempt) if voice.attempt else set())


def voices_named(voice: Voice) -> set[str]:
    held = {clone.engine_voice_id for clone in (voice.clone, voice.standby) if clone}
    return held | {left.engine_voice_id for left in voice.leftovers if left.engine_voice_id}


STEPS = [
    *("claim", "hold", "hold at the provider", "regain", "stand by", "evict", "mark", "abandon"),
    *("erase", "clean", "clean nothing"),
]


@given(steps=st.lists(st.sampled_from(STEPS), max_size=40))
def test_nothing_is_ever_forgotten_and_revisions_only_grow(steps: list[str]) -> None:
    voice, now = Voice("ada"), NOW
    blobs, voices = set[str](), set[str]()
    for number, step in enumerate(steps):
        before, made = voice, voice.attempt
        now += timedelta(seconds=25) * (number % 3)
        if step == "claim" and not voice.is_claimed(now):
            voice = voice.claimed(attempt(number, now), now)
            blobs |= blobs_of(attempt(number, now))
        elif step.startswith("hold") and made:
            sample, clone = made_by(made, now, in_pool=step != "hold")
            voice = voice.holding(sample, clone, now, now + MINUTE)
            voices.add(clone.engine_voice_id)
            blobs -= set() if clone.profile else {made.profile_name}
        elif step == "regain" and made and voice.sample and not (voice.clone and voice.clone.in_pool):
            voice = voice.regained(cloned_by(made, now, in_pool=True), now)
            voices.add(f"voice-{made.attempt_id}")
            blobs -= blobs_of(made)
        elif step == "stand by" and made and voice.sample:
            voice = voice.standing_by(cloned_by(made, now), now)
            voices.add(f"voice-{made.attempt_id}")
            blobs.discard(made.audio_name)
        elif step == "evict" and voice.clone:
            voice = voice.evicted(now)
        elif step == "mark" and voice.clone:
            voice = voice.marked(now + MINUTE, now)
        elif step == "abandon":
            voice = voice.abandoned(now)
        elif step == "erase":
            voice = voice.erased(now)
        elif step == "clean":
            # What an attempt may yet make again is named until it cannot any more.
            gone = [left for left in voice.leftovers if not left.until or left.until <= now]
            blobs -= {name for left in gone for name in left.blobs}
            voices -= {left.engine_voice_id for left in gone}
            voice = voice.cleaned(now)
        elif step == "clean nothing":
            voice = voice.cleaned(now, voice.leftovers)
        assert (blobs_named(voice), voices_named(voice)) == (blobs, voices)
        assert voice is before or voice.revision > before.revision
        assert (voice.sweep_at is not None) == bool(voice.leftovers or voice.attempt)
        assert voice.empty == (not blobs and not voices)


def test_an_attempt_that_expired_gives_way_and_is_cleaned_up_after() -> None:
    dead = Voice("ada").claimed(attempt(1, NOW), NOW)
    assert dead.is_claimed(NOW + MINUTE / 2)
    assert not dead.is_claimed(NOW + MINUTE)
    second = dead.claimed(attempt(2, NOW + MINUTE), NOW + MINUTE)
    assert {name for left in second.leftovers for name in left.blobs} == blobs_of(attempt(1, NOW))
    assert second.attempt == attempt(2, NOW + MINUTE)


def test_what_was_given_up_may_land_for_a_minute_and_its_voice_is_removed_once() -> None:
    tried = Voice("ada").claimed(attempt(1, NOW), NOW)
    given_up = tried.abandoned(NOW + MINUTE / 2, "voice-1")
    (left,) = given_up.cleaned(NOW + MINUTE).leftovers
    assert (set(left.blobs), left.engine_voice_id) == (blobs_of(attempt(1, NOW)), "")
    assert given_up.cleaned(NOW + MINUTE).sweep_at == NOW + 1.5 * MINUTE
    assert given_up.cleaned(NOW + 1.5 * MINUTE).empty
    assert tried.abandoned(NOW + MINUTE / 2, "voice-1", answered=True).cleaned(NOW + MINUTE / 2).empty


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


def test_a_voice_is_ready_when_it_has_a_clone_of_its_sample() -> None:
    first = attempt(1, NOW)
    held = Voice("ada").claimed(first, NOW).holding(*made_by(first, NOW), NOW)
    assert (Voice("ada").state, held.state) == ("none", "ready")


def test_a_promotion_keeps_the_clone_of_the_embedded_engine() -> None:
    embedded = held_by(1)
    promoted = embedded.claimed(attempt(2, NOW), NOW).regained(
        cloned_by(attempt(2, NOW), NOW, in_pool=True), NOW
    )
    assert (promoted.standby, promoted.leftovers) == (embedded.clone, ())
    assert promoted.fence > embedded.fence
    assert promoted.embedded == embedded.clone
    evicted = promoted.evicted(NOW)
    assert (evicted.state, evicted.embedded) == ("evicted", embedded.clone)
    (left,) = evicted.leftovers
    assert (left.provider, left.engine_voice_id, left.attempt_id) == (
        "remote",
        "voice-attempt-2",
        "attempt-2",
    )
    assert evicted.fence > promoted.fence


def test_a_mark_hides_a_clone_until_its_time_is_over() -> None:
    held = held_by(1, in_pool=True)
    marked = held.marked(NOW + MINUTE, NOW)
    assert marked.clone_at("remote", NOW) is None
    assert marked.clone_at("remote", NOW + MINUTE) is not None
    assert marked.unmarked(NOW).clone_at("remote", NOW) == held.clone
    assert held.clone_at("another", NOW) is None
    assert marked.fence == held.fence


def test_a_replaced_voice_waits_for_its_performances_and_its_blobs_do_not() -> None:
    held = held_by(1, in_pool=True)
    second = attempt(2, NOW)
    replaced = held.claimed(second, NOW).holding(*made_by(second, NOW, in_pool=True), NOW, NOW + 3 * MINUTE)
    audio, voice = replaced.leftovers
    assert (audio.blobs, audio.must_wait(NOW)) == ((attempt(1, NOW).audio_name,), False)
    assert voice.must_wait(NOW + 2 * MINUTE)
    assert not voice.must_wait(NOW + 3 * MINUTE)
    assert replaced.cleaned(NOW, [voice]).sweep_at == NOW + 3 * MINUTE
    assert not any(left.not_before for left in replaced.erased(NOW).leftovers)


def test_a_voice_that_could_not_be_removed_is_its_users_again() -> None:
    held = held_by(1, in_pool=True)
    assert held.clone is not None
    back = held.marked(NOW + MINUTE, NOW).evicted(NOW).reinstated(held.clone, NOW)
    assert (back.clone, back.leftovers, back.sweep_at) == (held.clone, (), None)
    assert back.fence > held.fence
