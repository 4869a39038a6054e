"""Rate limits: one bucket for each user and pace, or for each address and pace where nobody is signed in."""

from typing import Any

from gateway.routes import Pace, Route
from gateway.settings import Limits

# As edge.lua tells it: of IPv6 a /64. Envoy's own masked_remote_address would take all IPv4 addresses that a
# proxy writes as ::ffff:192.0.2.1 for one.
_ADDRESS: dict[str, Any] = {
    "metadata": {
        "descriptor_key": "network",
        "source": "DYNAMIC",
        "metadata_key": {"key": "newvisions", "path": [{"key": "network"}]},
        # Never uncounted.
        "default_value": "unknown",
    }
}
_USER: dict[str, Any] = {
    "metadata": {
        "descriptor_key": "user",
        "source": "DYNAMIC",
        "metadata_key": {
            "key": "envoy.filters.http.jwt_authn",
            "path": [{"key": "jwt"}, {"key": "sub"}],
        },
    }
}


def pace_of(route: Route) -> dict[str, Any]:
    """What the route tells the rate limit filter."""
    return {"newvisions": {"user_pace" if route.needs_token else "address_pace": route.pace.name.lower()}}


def rate_limits() -> list[dict[str, Any]]:
    """What is counted for each request; a line whose route does not name its pace counts nothing."""
    everything = {"generic_key": {"descriptor_key": "pace", "descriptor_value": "address"}}
    return [
        {"actions": [_pace("user_pace"), _USER]},
        {"actions": [_pace("address_pace"), _ADDRESS]},
        {"actions": [everything, _ADDRESS]},
    ]


def buckets(limits: Limits) -> list[dict[str, Any]]:
    """The sizes; a key without a value has one bucket for each value that appears."""
    sizes = {Pace.READS: limits.reads, Pace.COSTLY: limits.costly, Pace.GUESSABLE: limits.guessable}
    made = [_bucket("address", "network", limits.address)]
    for pace, size in sizes.items():
        made += [_bucket(pace.name.lower(), key, size) for key in ("user", "network")]
    return made


def _bucket(pace: str, key: str, size: int) -> dict[str, Any]:
    return {
        "entries": [{"key": "pace", "value": pace}, {"key": key}],
        "token_bucket": {"max_tokens": size, "tokens_per_fill": size, "fill_interval": "60s"},
    }


def _pace(key: str) -> dict[str, Any]:
    return {
        "metadata": {
            "descriptor_key": "pace",
            "source": "ROUTE_ENTRY",
            "metadata_key": {"key": "newvisions", "path": [{"key": key}]},
        }
    }
