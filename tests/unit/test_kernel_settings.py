"""Settings from the environment and from files; what is wrong with them is said in a line each."""

from pathlib import Path

import pytest
from pydantic import Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kernel.settings import SECRETS_DIR, Address, SettingsWrong, read


class Sound(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SOUND_", frozen=True)

    store_url: str
    key: SecretStr = Field(min_length=8)
    loudness: int = Field(default=3, ge=0, le=10)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STORE_URL", "KEY", "LOUDNESS"):
        monkeypatch.delenv(f"SOUND_{name}", raising=False)
    monkeypatch.setenv(SECRETS_DIR, str(tmp_path))
    return tmp_path


def test_a_secret_may_come_from_a_file_of_its_name(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "sound_key").write_text("long enough\n")
    monkeypatch.setenv("SOUND_STORE_URL", "store://here")
    found = read(Sound)
    assert (found.store_url, found.key.get_secret_value(), found.loudness) == (
        "store://here",
        "long enough",
        3,
    )


def test_a_variable_wins_over_a_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "sound_key").write_text("from the file")
    (secrets / "sound_store_url").write_text("store://file")
    monkeypatch.setenv("SOUND_STORE_URL", "store://variable")
    assert read(Sound).store_url == "store://variable"


def test_each_wrong_setting_has_a_line_that_names_it_and_not_its_value(
    secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOUND_KEY", "hunter2")
    monkeypatch.setenv("SOUND_LOUDNESS", "11")
    with pytest.raises(SettingsWrong) as ended:
        read(Sound)
    said = str(ended.value)
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "setting SOUND_STORE_URL",
        "setting SOUND_KEY",
        "setting SOUND_LOUDNESS",
    ]
    assert "is not set" in said
    assert "less than or equal to 10" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    "address",
    ["auth:50051", "127.0.0.1:1", "[::1]:50051", "dns:///auth:50051", "dns://127.0.0.1:53/auth.pods:1", ""],
)
def test_an_address_is_what_grpc_finds(address: str) -> None:
    assert TypeAdapter(Address).validate_python(address) == address


@pytest.mark.parametrize(
    "address", ["auth", "auth:70000", "http://auth:1", "dns://auth:1", "dns:///auth", "a b:1"]
)
def test_what_grpc_would_only_fail_to_find_later_is_refused_at_start(address: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Address).validate_python(address)
