"""Reading from the network, but not for ever from somebody who sends almost nothing."""

from __future__ import annotations

import io
import socket
import time
from typing import Any


class PacedReader(io.RawIOBase):
    """What comes through a connection, as long as it comes at `bytes_per_second`.

    The sender may fall behind by the connection's timeout, which would otherwise start anew with
    every byte. Time in which nobody reads does not count.
    """

    def __init__(self, connection: socket.socket, bytes_per_second: float):
        self._connection, self._pace = connection, bytes_per_second
        self._patience = self._left = connection.gettimeout() or 60.0
        self._raw = connection.makefile('rb', buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError: the sender is too slow."""
        self._connection.settimeout(max(self._left, 0.001))
        start = time.monotonic()
        try:
            count = self._raw.readinto(buffer) or 0
        except TimeoutError:
            slow = f'under {self._pace:,.0f} bytes/s for {self._patience:g} s'
            raise TimeoutError(slow) from None
        finally:
            self._connection.settimeout(self._patience)
        left = self._left - (time.monotonic() - start) + count / self._pace
        self._left = min(left, self._patience)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
