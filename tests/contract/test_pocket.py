"""What is particular to Pocket TTS: weights by setting, voices of other weights, several languages."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from services.synthesis.domain import EngineUnavailable, EnrolledVoice, Utterance, VoiceNotEnrolled
from services.synthesis.engines.catalogue import NotLoaded, engine_named
from services.synthesis.engines.pocket import PocketEngine, PocketSettings
from tests.contract import pocket_model
from tests.contract.engine_stages import NOTES, RATE, sample

installed = pytest.mark.skipif(not pocket_model.INSTALLED, reason=pocket_model.REASON)


@pytest.mark.skipif(pocket_model.INSTALLED, reason="the optional package is installed here")
def test_without_its_package_one_line_says_what_to_install() -> None:
    with pytest.raises(NotLoaded, match=r"^engine 'pocket' cannot be made: .* uv pip install 'pocket-tts"):
        engine_named("pocket")


@pytest.mark.parametrize("languages", ["", "en,xx", "english"])
def test_a_language_without_a_model_is_no_setting(languages: str) -> None:
    with pytest.raises(ValueError, match="languages"):
        PocketSettings.model_validate({"languages": languages})


def test_the_environment_names_languages_and_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTHESIS_POCKET_LANGUAGES", "en, pt")
    monkeypatch.setenv("SYNTHESIS_POCKET_CONFIG_DIR", str(tmp_path))
    settings = PocketSettings()
    assert settings.languages == ("en", "pt")
    assert settings.configuration("pt") == tmp_path / "portuguese.yaml"
    monkeypatch.delenv("SYNTHESIS_POCKET_CONFIG_DIR")
    assert PocketSettings().configuration("pt") is None


def folder_of_models(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return pocket_model.make(folder, {"en": "english", "es": "spanish"}, " ".join(NOTES.values()))


async def started(folder: Path, languages: str) -> PocketEngine:
    engine = PocketEngine(PocketSettings.model_validate({"languages": languages, "config_dir": folder}))
    try:
        await engine.start()
    except BaseException:
        await engine.close()
        raise
    return engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_models(tmp_path_factory.mktemp("pocket"))


@pytest.fixture(scope="module")
async def engine(folder: Path) -> AsyncIterator[PocketEngine]:
    engine = await started(folder, "en,es")
    yield engine
    await engine.close()


async def say(engine: PocketEngine, profile: bytes, language: str = "en") -> bytes:
    utterance = Utterance(NOTES[language], language)
    async with aclosing(engine.speak(utterance, EnrolledVoice("v", profile))) as chunks:
        return b"".join([chunk async for chunk in chunks])


@installed
async def test_each_language_has_a_model_of_its_own(engine: PocketEngine) -> None:
    profile = await engine.enrol(sample(), RATE)
    english, spanish = await say(engine, profile, "en"), await say(engine, profile, "es")
    assert english != spanish
    # The same but for how many frames the codec was given at once, which is a matter of rounding.
    again = await say(engine, profile, "en")
    assert np.frombuffer(again, "<i2") == pytest.approx(np.frombuffer(english, "<i2").astype(float), abs=50)


@installed
async def test_a_voice_is_good_for_the_weights_that_heard_it(engine: PocketEngine, tmp_path: Path) -> None:
    folder = folder_of_models(tmp_path / "swapped")
    (folder / "english.safetensors").rename(folder / "was_english")
    (folder / "spanish.safetensors").rename(folder / "english.safetensors")
    (folder / "was_english").rename(folder / "spanish.safetensors")
    profile = await engine.enrol(sample(), RATE)
    other = await started(folder, "en")
    with pytest.raises(VoiceNotEnrolled):
        await say(other, profile)
    assert await say(other, await other.enrol(sample(), RATE))
    await other.close()


@installed
async def test_a_voice_learnt_before_a_language_came_is_learnt_again(
    engine: PocketEngine, folder: Path
) -> None:
    english_only = await started(folder, "en")
    profile = await english_only.enrol(sample(), RATE)
    await english_only.close()
    assert await say(engine, profile, "en")
    with pytest.raises(VoiceNotEnrolled):
        await say(engine, profile, "es")


@installed
async def test_a_sample_at_any_rate_is_the_same_voice_and_silence_is_none(engine: PocketEngine) -> None:
    resampled = await engine.enrol(sample()[: RATE * 20], RATE // 2)
    tensors = import_module("safetensors.torch")
    # 12.5 frames a second, up to where the last word ends.
    frames = tensors.load(resampled)["en"].shape[1]
    assert 12.5 * 18 < frames <= 12.5 * 21
    with pytest.raises(VoiceNotEnrolled):
        await engine.enrol(bytes(2 * RATE), RATE)


@installed
async def test_a_missing_or_broken_model_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="'en' cannot be loaded") as missing:
        await started(tmp_path, "en")
    assert "\n" not in missing.value.message
    broken = folder_of_models(tmp_path / "broken")
    (broken / "english.safetensors").write_bytes(b"nothing like weights")
    with pytest.raises(EngineUnavailable, match="'en' cannot be loaded"):
        await started(broken, "en")


@installed
async def test_who_closes_it_tells_those_who_listen(folder: Path) -> None:
    engine = await started(folder, "en")
    profile = await engine.enrol(sample(), RATE)
    long = Utterance(" ".join([NOTES["en"]] * 40), "en")
    first = engine.speak(long, EnrolledVoice("v", profile))
    assert await anext(first)
    # Waits for the thread behind the first.
    second = asyncio.ensure_future(say(engine, profile))
    await asyncio.sleep(0)
    await engine.close()
    for interrupted in (anyhow(first), second):
        async with asyncio.timeout(20):
            with pytest.raises(EngineUnavailable):
                await interrupted


async def anyhow(speech: AsyncIterator[bytes]) -> None:
    async for _ in speech:
        pass
