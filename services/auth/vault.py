"""Secrets made from one key file: what seals the signing keys, and what derives refresh tokens."""

import base64
import binascii
import hmac
import os
import struct
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.auth.domain.errors import RefreshTokenInvalid
from services.auth.domain.sessions import RefreshToken
from services.kernel.settings import SettingUnusable

_NONCE_BYTES = 12


class KeyFileUnusable(SettingUnusable):
    """Stops the start: nothing can be signed or verified without the key."""


def read_key(path: Path) -> bytes:
    """32 bytes, written as base64 or hex. Raises KeyFileUnusable."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileUnusable(f"setting AUTH_KEY_FILE: cannot be read: {path}") from error
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text)
        except ValueError:
            continue
        if len(key) == 32:
            return key
    raise KeyFileUnusable(f"setting AUTH_KEY_FILE: must hold 32 bytes as base64 or hex: {path}")


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "==")
    except binascii.Error as error:
        raise ValueError("not base64") from error


def derived(key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose."""
    return HKDF(SHA256(), length=32, salt=None, info=f"newvisions/auth/{purpose}".encode()).derive(key)


class Seal:
    """AES-256-GCM. What was sealed for one label opens for that label only."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(derived(key, "seal"))

    def seal(self, secret: bytes, label: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, label.encode())

    def open(self, sealed: bytes, label: str) -> bytes:
        """Raises KeyFileUnusable: the only cause is another key than the one that sealed it."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], label.encode())
        except InvalidTag as error:
            raise KeyFileUnusable(
                "setting AUTH_KEY_FILE: is not the key that this database was made with"
            ) from error


class SealedSubjects:
    """Whom an erasure is about: sealed while there is something to do, afterwards only a keyed hash."""

    def __init__(self, key: bytes) -> None:
        self._seal = Seal(key)
        self._reference = derived(key, "erasure-reference")

    def reference(self, user_id: str) -> str:
        return hmac.digest(self._reference, user_id.encode(), "sha256").hex()

    def seal(self, user_id: str, erasure_id: str) -> bytes:
        return self._seal.seal(user_id.encode(), f"erasure:{erasure_id}")

    def open(self, sealed: bytes, erasure_id: str) -> str:
        return self._seal.open(sealed, f"erasure:{erasure_id}").decode()


class HmacRefreshTokens:
    """Tokens that carry their session, a secret, and a tag.

    A secret is derived from the one before it, so a successor can be made again without being
    kept. The tag tells a token of ours from a guess: only the former may end a session.
    """

    # For people and secret scanners that meet one.
    PREFIX = "nvr_"
    _FORM = struct.Struct(">16sI32s")
    _TAG_BYTES = 16

    def __init__(self, key: bytes) -> None:
        self._chain = derived(key, "refresh-chain")
        self._tag = derived(key, "refresh-tag")

    def first(self, session_id: str) -> RefreshToken:
        return self._mint(session_id, 1, os.urandom(32))

    def successor(self, token: RefreshToken) -> RefreshToken:
        secret = hmac.digest(self._chain, token.text.encode(), "sha256")
        return self._mint(token.session_id, token.generation + 1, secret)

    def read(self, text: str) -> RefreshToken:
        packed = self._unpacked(text)
        body, tag = packed[: -self._TAG_BYTES], packed[-self._TAG_BYTES :]
        if len(body) != self._FORM.size or not hmac.compare_digest(tag, self._tag_of(body)):
            raise RefreshTokenInvalid("The refresh token is not valid.")
        session, generation, secret = self._FORM.unpack(body)
        return self._mint(_dashed(session), generation, secret)

    def _unpacked(self, text: str) -> bytes:
        try:
            return base64.urlsafe_b64decode(text.removeprefix(self.PREFIX) + "==")
        except ValueError as error:
            raise RefreshTokenInvalid("The refresh token is not valid.") from error

    def _mint(self, session_id: str, generation: int, secret: bytes) -> RefreshToken:
        body = self._FORM.pack(bytes.fromhex(session_id.replace("-", "")), generation, secret)
        packed = base64.urlsafe_b64encode(body + self._tag_of(body)).decode().rstrip("=")
        return RefreshToken(session_id, generation, secret, self.PREFIX + packed)

    def _tag_of(self, body: bytes) -> bytes:
        return hmac.digest(self._tag, body, "sha256")[: self._TAG_BYTES]


def _dashed(session: bytes) -> str:
    digits = session.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
