import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.accounts import CODE_ALPHABET, name_key, new_code, require_strong
from services.auth.domain.errors import PasswordTooWeak


@given(st.text())
def test_the_key_of_a_key_is_the_key(name: str) -> None:
    assert name_key(name_key(name)) == name_key(name)


@given(st.text())
def test_every_unicode_form_of_a_name_has_the_same_key(name: str) -> None:
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert name_key(unicodedata.normalize(form, name)) == name_key(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ada", "aDA"), ("Straße", "STRASSE"), ("ＡＤＡ", "ada"), ("Ｊosé", "jose\u0301"), ("A@X.io", "a@x.IO")],
)
def test_names_that_read_alike_are_the_same_name(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_names_that_read_differently_are_different_names() -> None:
    assert len({name_key(name) for name in ("jose", "josé", "j0se", "jos", "jose.")}) == 5


@given(st.integers())
def test_a_code_is_eleven_letters_and_digits(seed: int) -> None:
    code = new_code(random.Random(seed).choice)
    assert len(code) == 11
    assert set(code) <= set(CODE_ALPHABET)
    assert code.isascii()
    assert code.isalnum()


def test_codes_use_the_whole_alphabet() -> None:
    source = random.Random(1)
    assert set("".join(new_code(source.choice) for _ in range(500))) == set(CODE_ALPHABET)


@given(st.text(max_size=16), st.integers(6, 8))
def test_a_password_is_strong_exactly_when_it_is_long_enough(password: str, shortest: int) -> None:
    if len(unicodedata.normalize("NFKC", password)) >= shortest:
        require_strong(password, shortest)
    else:
        with pytest.raises(PasswordTooWeak):
            require_strong(password, shortest)
