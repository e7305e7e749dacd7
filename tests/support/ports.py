"""A port for processes that a test starts, and lets meet there."""

from __future__ import annotations

import os
import socket

FIRST, COUNT = 20_000, 12_000
"""Below those that systems give out by themselves, which could be taken before they are used."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens.

    Tests that run at the same time are processes of their own, and start to look at another port.
    """
    start = os.getpid() * 7
    for number in range(start, start + COUNT):
        port = FIRST + number % COUNT
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError("no port is free")
