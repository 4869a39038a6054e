"""What every error of every service owes its reader."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import pytest

import services
from services.kernel.errors import Kind, ServiceError


def errors() -> Iterator[type[ServiceError]]:
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    seen = list(ServiceError.__subclasses__())
    while seen:
        error = seen.pop()
        seen += error.__subclasses__()
        # Tests have errors of their own, which nobody reads.
        ours = error.__module__.startswith("services.")
        if ours and "reason" in vars(error) and not error.__name__.startswith("_"):
            yield error


ERRORS = {f"{error.reason} of {error.__module__}.{error.__qualname__}": error for error in errors()}
EACH = pytest.mark.parametrize("error", [ERRORS[name] for name in sorted(ERRORS)], ids=sorted(ERRORS))


@EACH
def test_every_error_says_what_to_do_next_in_a_sentence(error: type[ServiceError]) -> None:
    assert error.action.strip().endswith("."), f"{error.__qualname__} tells nobody what to do next"
    assert error.reason == error.reason.upper()


@EACH
def test_whatever_will_pass_says_when_to_try_again(error: type[ServiceError]) -> None:
    if error.kind in {Kind.UNAVAILABLE, Kind.EXHAUSTED}:
        assert error.retry_after_seconds > 0
