"""The route table for people."""

from gateway.routes import Route
from newvisions.edge.v1 import edge_pb2

_WHO: dict[int, str] = {
    edge_pb2.ACCESS_OPEN: "anybody",
    edge_pb2.ACCESS_USER: "a user",
    edge_pb2.ACCESS_ADMIN: "an admin",
    edge_pb2.ACCESS_OPERATOR: "an operator",
}


def markdown(routes: list[Route]) -> str:
    lines = [
        "| route | call | who | deadline | pace | body up to |",
        "|---|---|---|---|---|---|",
        *(_line(route) for route in routes),
    ]
    return "\n".join(lines) + "\n"


def _line(route: Route) -> str:
    call = route.rpc.removeprefix("newvisions.").replace(f"{route.service}.v1.", "")
    cells = (
        f"`{route.method} {route.template}`",
        f"{call}{' (stream)' if route.streams else ''}",
        _WHO[route.access],
        f"{route.deadline_seconds:g} s",
        route.pace.name.lower(),
        f"{route.max_body_kib} KiB",
    )
    return f"| {' | '.join(cells)} |"
