import asyncio
import base64
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.errors import PasswordsBusy, RefreshTokenInvalid
from services.auth.domain.sessions import Presented, Session, judge
from services.auth.passwords import Argon2Cost, Argon2Passwords
from services.auth.vault import HmacRefreshTokens, KeyFileUnusable, Seal, read_key

CHEAP = Argon2Cost(memory_kib=1024, time_cost=1, parallelism=1)
KEY = bytes(range(32))
NOW = datetime(2026, 11, 3, tzinfo=UTC)
GRACE = timedelta(seconds=30)
TOKEN_TEXT = HmacRefreshTokens(KEY).first("6f1c8a34-53a8-4a5b-9b06-1c1f4fd1a2b3").text


@pytest.mark.parametrize(
    "text",
    [
        KEY.hex(),
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        KEY.hex() + "\n",
    ],
)
def test_a_key_may_be_written_as_hex_or_base64(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    assert read_key(tmp_path / "key") == KEY


@pytest.mark.parametrize("text", ["", "short", KEY.hex()[:-2], "ü" * 32])
def test_a_file_without_a_whole_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(KeyFileUnusable):
        read_key(tmp_path / "key")


def test_what_is_sealed_opens_only_with_its_key_and_its_label() -> None:
    sealed = Seal(KEY).seal(b"secret", "label")
    assert Seal(KEY).open(sealed, "label") == b"secret"
    assert b"secret" not in sealed
    for seal, label in ((Seal(KEY), "other"), (Seal(os.urandom(32)), "label")):
        with pytest.raises(KeyFileUnusable):
            seal.open(sealed, label)


def test_a_successor_can_be_made_again_but_only_with_the_key() -> None:
    tokens, first = HmacRefreshTokens(KEY), HmacRefreshTokens(KEY).first(str(uuid4()))
    again = tokens.read(first.text)
    assert again == first
    assert tokens.successor(again) == tokens.successor(first)
    assert HmacRefreshTokens(os.urandom(32)).successor(first).text != tokens.successor(first).text
    assert (
        len({first.text, tokens.successor(first).text, tokens.successor(tokens.successor(first)).text}) == 3
    )


def test_a_token_shows_neither_itself_nor_its_secret_in_a_trace() -> None:
    token = HmacRefreshTokens(KEY).first(str(uuid4()))
    assert token.text not in repr(token)


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    tokens, text = HmacRefreshTokens(KEY), TOKEN_TEXT
    # The last character carries unused bits.
    at = data.draw(st.integers(4, len(text) - 2))
    other = data.draw(st.sampled_from([c for c in "AZaz09-_" if c != text[at]]))
    with pytest.raises(RefreshTokenInvalid):
        tokens.read(text[:at] + other + text[at + 1 :])


@given(st.text(max_size=256))
def test_anything_else_is_no_refresh_token(text: str) -> None:
    with pytest.raises(RefreshTokenInvalid):
        HmacRefreshTokens(KEY).read(text)


@pytest.mark.parametrize(
    ("digest", "seconds", "expected"),
    [
        ("new", 0, Presented.CURRENT),
        ("new", 500, Presented.CURRENT),
        ("old", 30, Presented.JUST_ROTATED),
        ("old", 31, Presented.REUSED),
        ("older", 1, Presented.REUSED),
        ("new", 86_400, Presented.ENDED),
    ],
)
def test_what_a_presented_token_means(digest: str, seconds: int, expected: Presented) -> None:
    session = Session("s", "u", NOW, NOW + timedelta(days=1), "new", "old", NOW)
    assert judge(session, digest, NOW + timedelta(seconds=seconds), GRACE) is expected


def test_nothing_revives_a_revoked_session() -> None:
    session = Session("s", "u", NOW, NOW + timedelta(days=1), "new", revoked_at=NOW)
    assert judge(session, "new", NOW, GRACE) is Presented.ENDED


@pytest.fixture
def passwords() -> Iterator[Argon2Passwords]:
    made = Argon2Passwords(CHEAP, threads=1, queue=1)
    yield made
    made.close()


async def test_a_password_matches_its_own_hash_in_every_unicode_form(passwords: Argon2Passwords) -> None:
    known = await passwords.hash("contraseña de José")
    assert (await passwords.verify("contrasen\u0303a de Jose\u0301", known)).matches
    assert not (await passwords.verify("contrasena de José", known)).matches
    assert known.startswith("$argon2id$v=19$m=1024,t=1,p=1$")


async def test_nobody_has_no_password(passwords: Argon2Passwords) -> None:
    assert not (await passwords.verify("", None)).matches
    assert not (await passwords.verify("anything", "not a hash")).matches


async def test_a_hash_made_with_other_parameters_is_outdated(passwords: Argon2Passwords) -> None:
    stronger = Argon2Passwords(Argon2Cost(2048, 1, 1), threads=1, queue=1)
    known = await passwords.hash("a password")
    assert not (await passwords.verify("a password", known)).outdated
    verdict = await stronger.verify("a password", known)
    stronger.close()
    assert verdict.matches
    assert verdict.outdated


async def test_more_than_the_queue_holds_is_refused_at_once(passwords: Argon2Passwords) -> None:
    outcomes = await asyncio.gather(*(passwords.hash("x") for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, PasswordsBusy) for outcome in outcomes) == 8
    assert await passwords.hash("x")
