"""Who a request came from, as far as the gateway and the client tell."""

from services.auth.domain.sessions import Client
from services.kernel.caller import caller

_LONGEST_AGENT = 200


def client() -> Client:
    headers = caller().headers
    agent = "".join(filter(str.isprintable, headers.get("user-agent", "")))
    # Set by the gateway, whatever the client sent; absent for calls that came another way.
    return Client(address=headers.get("x-client-address", ""), agent=agent[:_LONGEST_AGENT].strip())
