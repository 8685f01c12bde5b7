"""For a worker whose connections a test looks at: with this folder in PYTHONPATH, each is written to CONNECTIONS_LOG.

A line is a JSON list: the event of Python's audit hooks, the host and the port, of this process and all its children.
What is not Python (the store's client, obstore) makes its connections unseen; it has no address but the store's.
"""

from __future__ import annotations

import json
import os
import sys

_EVENTS = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
"""Event -> which of its arguments is the address, or the host and after it the port."""


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _EVENTS:
        return
    address = arguments[_EVENTS[event]]
    if isinstance(address, str) and event in ("socket.connect", "socket.sendto"):
        return  # a path: a socket of this machine
    host, port, *_ = (*address, None) if isinstance(address, tuple) else (address, *arguments[1:2], None)
    line = json.dumps([event, host.decode() if isinstance(host, bytes) else host, port], default=str)
    descriptor = os.open(os.environ["CONNECTIONS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


sys.addaudithook(_note)
