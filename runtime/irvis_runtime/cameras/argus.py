"""Asks for a restart of Argus, the daemon behind CSI cameras: hung, it lets none open until then.

That takes root, which the service has not. It leaves a request, an empty file, for which a unit of root's
waits (jetson/irvis-argus.path); the variable REQUEST names the file, and without it nothing is asked. Never
run with Argus.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

REQUEST = "IRVIS_ARGUS_REQUEST"
BY_HAND = "`sudo systemctl restart nvargus-daemon` often brings a CSI camera back"
LEAST_PAUSE_S = 120.0
"""Between two requests, whatever the number of cameras: after a restart they take seconds to come back."""
ANSWER_S = 2.0
"""A request that lies there for longer is nobody's."""


class Argus:
    """Makes the requests of all cameras of a process; never waits for an answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_s: float | None = None
        self._has_advised = False

    def ask_for_restart(self, report: Callable[[str], None]) -> None:
        """Called where a camera has not opened twice; `report` gets a line where something is to be told."""
        with self._lock:
            text = self._ask()
        if text:
            report(text)

    def _ask(self) -> str:
        named = os.environ.get(REQUEST, "")
        if not named:
            return self._advice("this run may not ask for a restart of nvargus-daemon")
        request, now_s = Path(named), time.monotonic()
        since_s = LEAST_PAUSE_S if self._asked_s is None else now_s - self._asked_s
        if self._asked_s is not None and since_s > ANSWER_S and request.exists():
            return self._advice(
                f"nobody answers the request for a restart of nvargus-daemon ({request}); "
                "`systemctl status irvis-argus.path` says why"
            )
        if since_s < LEAST_PAUSE_S:
            return ""
        self._asked_s = now_s
        try:
            request.touch()
        except OSError as error:
            return self._advice(f"cannot ask for a restart of nvargus-daemon: {request}: {error.strerror}")
        return f"asked for a restart of nvargus-daemon ({request})"

    def _advice(self, text: str) -> str:
        """The line, once."""
        if self._has_advised:
            return ""
        self._has_advised = True
        return f"{text}; {BY_HAND}"
