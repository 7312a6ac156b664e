"""Reading from a connection at a least pace."""

from __future__ import annotations

import socket
import time

from poets_tfr.sockets import PacedReader


def test_time_in_which_nobody_reads_is_not_the_senders() -> None:
    sender, receiver = socket.socketpair()
    with sender, receiver:
        receiver.settimeout(0.05)
        with PacedReader(receiver, 1e6) as reader:
            for _ in range(3):
                sender.sendall(b'picture')
                time.sleep(0.1)
                assert reader.read(100) == b'picture'
            assert receiver.gettimeout() == 0.05
