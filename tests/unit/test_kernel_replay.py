import pytest

from services.kernel.caller import Caller, set_caller
from services.kernel.replay import KeyInvalid, idempotency_key


@pytest.mark.parametrize("key", ["a b~", "x", "x" * 255])
def test_a_key_is_taken_as_it_is(key: str) -> None:
    set_caller(Caller(headers={"idempotency-key": key}))
    assert idempotency_key() == key


def test_without_one_there_is_none() -> None:
    set_caller(Caller())
    assert idempotency_key() == ""


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\t", "naïve"])
def test_keys_that_are_none_are_refused(key: str) -> None:
    set_caller(Caller(headers={"idempotency-key": key}))
    with pytest.raises(KeyInvalid):
        idempotency_key()
