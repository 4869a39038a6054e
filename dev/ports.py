"""Free ports on the loopback interface."""

import errno
import random
import socket

# Below what operating systems hand out for outgoing connections, so that no client takes a port
# between our look and the server's bind.
_FIRST, _LAST = 20_000, 32_000
# By this process: between our look and the server's bind, a port looks free to a second one who draws.
_drawn: set[int] = set()


def free_port() -> int:
    """A TCP port that nothing on this machine listens on; never the same twice."""
    for port in random.sample(range(_FIRST, _LAST), 200):
        if port in _drawn:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _drawn.add(port)
        return port
    raise OSError("no free port between 20000 and 32000")


def must_be_free(port: int) -> None:
    """Raises OSError. Envoy would not: it shares a port with whoever lets it, and the traffic at random."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections that are still closing are no reason: a stack is stopped and started again on its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as failure:
            why = "is in use" if failure.errno == errno.EADDRINUSE else f"cannot be had: {failure.strerror}"
            raise OSError(f"port {port} {why}") from failure
