"""Whose key it is, and whom a kept answer is about, where nobody was signed in when it was asked for."""

from collections.abc import Mapping
from typing import Any, Final

from newvisions.auth.v1 import account_service_pb2 as account_pb
from newvisions.auth.v1 import auth_service_pb2 as pb
from services.auth.domain.accounts import name_key
from services.kernel.replay import Attempt

_REGISTER: Final = pb.DESCRIPTOR.services_by_name["AuthService"].methods_by_name["Register"].full_name
_RESET: Final = (
    account_pb.DESCRIPTOR.services_by_name["AccountService"].methods_by_name["ResetPassword"].full_name
)
# Which messages these are, the generated types do not tell.
_REQUESTS: Final[Mapping[str, Any]] = {_REGISTER: pb.RegisterRequest, _RESET: account_pb.ResetPasswordRequest}


def asked_by(attempt: Attempt) -> str:
    """The email that they give as theirs, in its one form; empty where none is asked for."""
    request = _REQUESTS.get(attempt.method)
    return "" if request is None else name_key(request.FromString(attempt.request).email)


def made_by(attempt: Attempt, answer: bytes) -> str:
    """The user that this answer made; empty when it made none."""
    if attempt.method != _REGISTER:
        return ""
    return pb.RegisterResponse.FromString(answer).user_id
