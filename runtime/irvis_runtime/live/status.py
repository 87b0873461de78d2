"""The state of a live run, told: to the status file, the log, and systemd."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from irvis_runtime.atomic import write_text
from irvis_runtime.errors import ContractError
from irvis_runtime.log import log
from irvis_runtime.states import State

from .systemd import Systemd

LOGGED_CHANGES = 5


class StatusFile:
    """Writes the newest status from a thread of its own, so that a slow disk does not hold up the picture."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: str | None = None
        self._wake = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self, status: Mapping[str, Any]) -> None:
        """Writes the first status at once; ContractError where the file cannot be written."""
        write_text(self._path, _json(status))
        self._thread.start()

    def put(self, status: Mapping[str, Any]) -> None:
        """Has this status written as soon as the disk allows; an older one that still waits is left out."""
        self._newest = _json(status)
        self._wake.set()

    def close(self, status: Mapping[str, Any], timeout_s: float = 5.0) -> None:
        """Writes the last status and ends."""
        # In this order: a thread that wakes between the two writes this status as the last one.
        self._newest = _json(status)
        self._is_closing = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            is_last, text = self._is_closing, self._newest
            # A full disk must not end the picture; the next second tries again.
            with suppress(ContractError):
                write_text(self._path, text or "")
            if is_last:
                return


def _json(status: Mapping[str, Any]) -> str:
    return json.dumps(status, allow_nan=False, indent=1) + "\n"


class Teller:
    """Tells a run's state: changes to the log, and once a second all to the status file and systemd."""

    def __init__(self, path: Path | None, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status, self._systemd = status, Systemd()
        self._file = None if path is None else StatusFile(path)
        self._told: State = "starting"
        self._told_s: deque[float] = deque(maxlen=LOGGED_CHANGES)
        self._is_ready = False
        if self._file is not None:
            self._file.start(status())

    def follow(self, state: State) -> None:
        """Logs a change of state; of a state that flickers, five changes in five seconds."""
        now_s = time.monotonic()
        is_flickering = len(self._told_s) == LOGGED_CHANGES and now_s - self._told_s[0] < LOGGED_CHANGES
        if state != self._told and not is_flickering:
            self._told = state
            self._told_s.append(now_s)
            log(state, state=state)

    def tell(self, state: State, frames: int) -> None:
        """Writes the status and feeds systemd's watchdog with `frames`, the pictures that have left.

        The first one makes the service ready.
        """
        if frames and not self._is_ready:
            self._is_ready = True
            self._systemd.ready()
        self._systemd.alive(frames, state)
        if self._file is not None:
            self._file.put(self._status())

    def reloading(self) -> None:
        """Says that the rig is being read again."""
        self._systemd.reloading()

    def reloaded(self) -> None:
        """Says that the run goes on, with the new rig or with the old."""
        self._systemd.ready()

    def stopping(self) -> None:
        """Says that the run is ending."""
        self._systemd.stopping()

    def close(self) -> None:
        """Writes the last status."""
        log("stopped", state="stopped")
        if self._file is not None:
            self._file.close(self._status())
