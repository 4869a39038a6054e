from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.breaches import BreachedPasswordsUnusable, read_breached
from services.auth.domain.errors import PasswordBreached, PasswordTooWeak
from services.auth.domain.passwords import PasswordRules, plain_form
from services.auth.settings import Settings

LIST = Settings.model_fields["breached_passwords_file"].default
RULES = PasswordRules(read_breached(LIST))


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PASSWORD",
        "Password1",
        "password2024",
        "P@ssw0rd",
        "pa$$w0rd!!",
        "p4$$word1",
        "1password1",
        "Contraseña",
        "contrasena1",
        "Ｐａｓｓｗｏｒｄ",
        "12345678",
        "qwertyuiop",
        "iloveyou!",
        "1qaz2wsx",
        "йцукенгш",
        "Barcelona99",
    ],
)
def test_common_passwords_and_their_simple_variants_are_refused(password: str) -> None:
    with pytest.raises(PasswordBreached):
        RULES.require_good(password, 8, ())


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "a tall hedgehog sings",
        "three wet umbrellas",
        "passwordless world",
        "dragon-teapot-42",
        "password of the sea",
        "kX9#vTq2",
        "42424217",
    ],
)
def test_other_passwords_pass_whatever_they_are_made_of(password: str) -> None:
    RULES.require_good(password, 8, ("somebody", "somebody@example.org"))


@pytest.mark.parametrize("password", ["short", "abc", ""])
def test_a_short_password_is_called_short(password: str) -> None:
    with pytest.raises(PasswordTooWeak):
        RULES.require_good(password, 8, ())


@pytest.mark.parametrize("password", ["Ana.Lopez", "ANA.LÓPEZ", "ana@example.org", "ana.lopez"])
def test_names_of_the_user_are_refused(password: str) -> None:
    with pytest.raises(PasswordTooWeak):
        RULES.require_good(password, 6, ("Ana.López", "ana@example.org"))


@given(st.text(max_size=140))
def test_every_text_is_either_fine_or_refused_with_a_reason(password: str) -> None:
    try:
        RULES.require_good(password, 8, ("name", "name@example.org"))
    except (PasswordTooWeak, PasswordBreached) as refusal:
        assert refusal.message


@given(st.text(max_size=64))
def test_the_plain_form_of_a_plain_form_is_itself(password: str) -> None:
    assert plain_form(plain_form(password)) == plain_form(password)


def test_the_list_is_long_enough_to_be_worth_having_and_holds_plain_forms() -> None:
    assert len(RULES.breached) > 1000
    assert all(plain_form(each) == each for each in RULES.breached)


def test_an_operator_may_bring_a_list_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("# ours\n\nCorrect Horse\n", encoding="utf-8")
    rules = PasswordRules(read_breached(tmp_path / "own.txt"))
    with pytest.raises(PasswordBreached):
        rules.require_good("correct horse", 8, ())
    rules.require_good("password", 8, ())


@pytest.mark.parametrize("text", [b"", b"# nothing but this\n", b"\xff\xfe"])
def test_a_list_that_lets_everything_pass_stops_the_start(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "own.txt").write_bytes(text)
    with pytest.raises(BreachedPasswordsUnusable):
        read_breached(tmp_path / "own.txt")


def test_a_missing_list_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(BreachedPasswordsUnusable):
        read_breached(tmp_path / "none.txt")
