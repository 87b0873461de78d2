"""sd_notify: what systemd is told of a live run."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

from irvis_runtime.states import State

PATIENCE_S = 0.2
"""A service manager that takes no message for longer, its queue full, misses it; the picture goes on."""


class Systemd:
    """Tells systemd by sd_notify that the service is ready, alive or stopping; silent elsewhere."""

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        # A name that begins with @ lies in the abstract name space.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._frames = 0

    def ready(self) -> None:
        """Says that the first picture is out, or that the new rig is in use."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Says that the rig is being read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self, frames: int, state: State) -> None:
        """Feeds the watchdog, but only where pictures have left since the last call."""
        moves = frames > self._frames
        self._frames = frames
        self._send(f"STATUS={state}, {frames} frames" + ("\nWATCHDOG=1" if moves else ""))

    def stopping(self) -> None:
        """Says that the service is ending."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify,
        ):
            notify.settimeout(PATIENCE_S)
            notify.sendto(text.encode(), self._address)
