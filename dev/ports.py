"""Free ports on the loopback interface."""

import random
import socket

# Below what operating systems hand out for outgoing connections, so that no client takes a port
# between our look and the server's bind.
_FIRST, _LAST = 20_000, 32_000


def free_port() -> int:
    """A TCP port that nothing on this machine listens on."""
    for port in random.sample(range(_FIRST, _LAST), 200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port between 20000 and 32000")
