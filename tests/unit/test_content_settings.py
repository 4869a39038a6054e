from pathlib import Path

import pytest
from pydantic import ValidationError

from services.content.settings import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTENT_VALKEY_URL", "redis://127.0.0.1:6379/0")
    for name in ("CONTENT_MODELS", "CONTENT_MODEL_ORDER"):
        monkeypatch.delenv(name, raising=False)


def settings() -> Settings:
    return Settings()  # type: ignore[call-arg]


def test_without_keys_only_the_offline_composer_is_switched_on() -> None:
    assert (settings().gemini_key, settings().openai_base_url) == ("", None)
    assert settings().models[-1] == "offline"


@pytest.mark.parametrize("name", ["CONTENT_MODELS", "CONTENT_MODEL_ORDER"])
def test_the_order_of_models_is_a_list_with_commas(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "openai, offline")
    assert settings().models == ("openai", "offline")


def test_an_unknown_model_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTENT_MODELS", "gemini,clippy")
    with pytest.raises(ValidationError, match="CONTENT_MODELS"):
        settings()


def test_a_key_may_come_from_a_file_and_shows_nowhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    monkeypatch.setenv("CONTENT_GEMINI_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("CONTENT_OPENAI_API_KEY", "from-the-environment")
    assert (settings().gemini_key, settings().openai_key) == ("from-a-file", "from-the-environment")
    assert "from-the-environment" not in repr(settings())


def test_an_openai_compatible_server_needs_the_name_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTENT_OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")
    with pytest.raises(ValidationError, match="CONTENT_OPENAI_MODEL"):
        settings()


def test_thoughts_are_kept_for_ten_minutes_and_those_of_performances_not_at_all() -> None:
    assert (settings().cache_seconds, settings().cache_for_perform) == (600, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONTENT_BUDGET_SECONDS", "0"),
        ("CONTENT_BUDGET_SECONDS", "20"),
        ("CONTENT_GEMINI_SECONDS", "60"),
        ("CONTENT_OPENAI_SECONDS", "-1"),
        ("CONTENT_CACHE_SECONDS", "100000"),
    ],
)
def test_a_time_that_makes_no_sense_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        settings()
