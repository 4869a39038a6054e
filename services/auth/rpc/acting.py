"""Who is calling, as the audit log knows them."""

from services.auth.domain.audit import Actor
from services.kernel.caller import caller


def acting() -> Actor:
    who = caller()
    return Actor(who.user_id, who.request_id)
