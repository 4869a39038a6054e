"""The embedded document database's own program, except that it stops at once.

A path, not a module: started without our folder on its path, as a program of its own.
"""

import contextlib
import socket

from secantus import cli
from secantus.server import SecantusDBServer


class _Server(SecantusDBServer):  # type: ignore[misc]
    def stop(self) -> None:
        """Wakes the thread that waits for callers, which to close their socket does not; it is waited for."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        super().stop()


if __name__ == "__main__":
    cli.SecantusDBServer = _Server
    raise SystemExit(cli.main())
