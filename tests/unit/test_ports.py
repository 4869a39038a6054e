"""A port is given to one server only: by the draw, and by who starts a stack on a port of their choice."""

import socket
from pathlib import Path

import pytest

from dev.ports import free_port
from dev.stack import Stack


def test_no_port_is_drawn_twice() -> None:
    drawn = [free_port() for _ in range(500)]
    assert len(set(drawn)) == len(drawn)


async def test_a_stack_does_not_share_a_port_that_another_lets_it_have(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        # As Envoy listens.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        with pytest.raises(OSError, match=f"^port {port} is in use$"):
            async with Stack(tmp_path, engine="tone", port=port):
                pass
