"""Whom a kept answer is about, where nobody was signed in when it was asked for."""

from typing import Final

from newvisions.auth.v1 import auth_service_pb2 as pb
from services.kernel.replay import Attempt

_REGISTER: Final = pb.DESCRIPTOR.services_by_name["AuthService"].methods_by_name["Register"].full_name


def made_by(attempt: Attempt, answer: bytes) -> str:
    """The user that this answer made; empty when it made none."""
    if attempt.method != _REGISTER:
        return ""
    return pb.RegisterResponse.FromString(answer).user_id
