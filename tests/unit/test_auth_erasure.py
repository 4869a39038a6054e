"""What an erasure keeps of whom it is about."""

import os
from uuid import uuid4

import pytest

from services.auth.vault import KeyFileUnusable, SealedSubjects

USER, ERASURE = str(uuid4()), str(uuid4())


def test_a_user_has_one_reference_that_only_the_key_can_make() -> None:
    key = os.urandom(32)
    reference = SealedSubjects(key).reference(USER)
    assert reference == SealedSubjects(key).reference(USER)
    assert reference != SealedSubjects(os.urandom(32)).reference(USER)
    assert reference != SealedSubjects(key).reference(str(uuid4()))
    assert USER not in reference


def test_a_sealed_user_opens_for_its_own_erasure_only() -> None:
    subjects = SealedSubjects(os.urandom(32))
    sealed = subjects.seal(USER, ERASURE)
    assert USER.encode() not in sealed
    assert subjects.open(sealed, ERASURE) == USER
    with pytest.raises(KeyFileUnusable):
        subjects.open(sealed, str(uuid4()))
