"""docs/settings.md says what the source says, and says it about every setting."""

import re

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dev.project import ROOT
from dev.settings_table import (
    DOCUMENT,
    SettingUnexplained,
    document,
    gateway_settings,
    settings_classes,
    settings_of,
)
from dev.settings_words import WORDS


class Sound(BaseSettings):
    """Of nobody; only for these tests."""

    model_config = SettingsConfigDict(env_prefix="SOUND_", frozen=True)

    # How loud, and
    # no louder.
    loudness: int = Field(default=3, ge=0, le=10)
    # Where it is kept.
    mongo_url: str


class Unexplained(Sound):
    echo: bool = False


def test_the_document_is_what_the_source_says_today() -> None:
    hint = "run: python -m dev.settings_table > docs/settings.md"
    assert DOCUMENT.read_text(encoding="utf-8") == document(), hint


def test_a_setting_is_told_with_type_default_bounds_and_the_comment_above_it() -> None:
    loudness, url = settings_of(Sound)
    assert (loudness.name, loudness.kind, loudness.default) == ("SOUND_LOUDNESS", "whole number", "`3`")
    assert loudness.bounds == "at least 0, at most 10"
    assert loudness.purpose == "How loud, and no louder."
    assert (url.default, url.secret) == ("**required**", "may hold a password")


def test_a_setting_that_nobody_explains_is_refused() -> None:
    with pytest.raises(SettingUnexplained, match="SOUND_ECHO"):
        list(settings_of(Unexplained))


def test_every_class_of_settings_in_the_source_has_its_place() -> None:
    in_source = {
        (path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."), name)
        for path in (ROOT / "services").rglob("*.py")
        for name in re.findall(r"(?m)^class (\w+)\(\w*Settings\):", path.read_text(encoding="utf-8"))
    }
    told = {(kind.__module__, kind.__name__) for kind in settings_classes()}
    # A part of synthesis' own settings.
    assert in_source - told == {("services.synthesis.settings", "GateSettings")}


def test_keys_and_passwords_are_marked() -> None:
    marks = {each.name: each.secret for kind in settings_classes() for each in settings_of(kind)}
    assert marks["CONTENT_GEMINI_API_KEY"] == "**yes**"
    assert marks["AUTH_KEY_FILE"] == marks["VOICE_ELEVENLABS_API_KEY_FILE"] == "file holds it"
    assert marks["PERFORM_MONGO_URL"] == "may hold a password"
    assert marks["AUTH_SESSION_DAYS"] == "no"


def test_no_words_are_left_of_settings_that_are_gone() -> None:
    settings = [*(each for kind in settings_classes() for each in settings_of(kind)), *gateway_settings()]
    assert WORDS.keys() <= {each.name for each in settings}
