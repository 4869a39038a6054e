from pathlib import Path

import pytest
from pydantic import ValidationError

from services.content.settings import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTENT_VALKEY_URL", "redis://127.0.0.1:6379/0")


def settings() -> Settings:
    return Settings()  # type: ignore[call-arg]


def test_without_keys_only_the_offline_composer_is_switched_on() -> None:
    assert (settings().gemini_key, settings().openai_base_url) == ("", None)
    assert settings().model_order[-1] == "offline"


def test_the_order_of_models_is_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTENT_MODEL_ORDER", "openai, offline")
    assert settings().model_order == ("openai", "offline")


def test_an_unknown_model_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTENT_MODEL_ORDER", "gemini,clippy")
    with pytest.raises(ValidationError, match="model_order"):
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
