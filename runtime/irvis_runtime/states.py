"""What the live picture is doing, counted and told: to the status file, the log, and systemd."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from .atomic import write_text
from .errors import ContractError

State = Literal["starting", "fusing", "visible-only", "infrared-only", "no-cameras", "stopped"]

WINDOW_FRAMES = 900
"""Frames over which latency and skew are told: half a minute at 30 a second."""
FPS_WINDOW_S = 5.0
LOGGED_CHANGES = 5


class Statistics:
    """Counts of a run, and times over its last frames; its size does not grow."""

    def __init__(self) -> None:
        self.frames = 0
        self.held = 0
        """Frames that were fused with an infrared frame older than a pair may be."""
        self._started_s = time.monotonic()
        self._pushed_s: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._latency_ms: deque[float] = deque(maxlen=WINDOW_FRAMES)
        self._skew_ms: deque[float] = deque(maxlen=WINDOW_FRAMES)

    def add(self, captured_ns: int, skew_ms: float | None, is_held: bool = False) -> None:
        """Counts a picture that is being handed to the outputs now; the skew's size counts, not its sign."""
        now_s = time.monotonic()
        self.frames += 1
        self.held += is_held
        self._pushed_s.append(now_s)
        self._latency_ms.append(now_s * 1e3 - captured_ns / 1e6)
        if skew_ms is not None:
            self._skew_ms.append(abs(skew_ms))

    def fps(self) -> float:
        """Pictures a second over the last five seconds, or since the start where that is less."""
        now_s = time.monotonic()
        recent = sum(pushed_s > now_s - FPS_WINDOW_S for pushed_s in self._pushed_s)
        return recent / max(min(FPS_WINDOW_S, now_s - self._started_s), 1e-3)

    def to_mapping(self) -> dict[str, Any]:
        """The status file's frames, held, fps, latency_ms, skew_ms; null for what has not been measured."""
        return {
            "frames": self.frames,
            "held": self.held,
            "fps": round(self.fps(), 2),
            "latency_ms": _percentiles(self._latency_ms),
            "skew_ms": _percentiles(self._skew_ms),
        }


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """The middle value and the 99th of 100, by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p99": None}
    return {
        f"p{percent}": round(ordered[max(-(-percent * len(ordered) // 100) - 1, 0)], 3)
        for percent in (50, 99)
    }


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
        self._is_closing = True
        self.put(status)
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
            log(state)

    def tell(self, state: State, frames: int) -> None:
        """Writes the status and feeds systemd's watchdog; the first picture makes the service ready."""
        if frames and not self._is_ready:
            self._is_ready = True
            self._systemd.ready()
        self._systemd.alive(frames, state)
        if self._file is not None:
            self._file.put(self._status())

    def stopping(self) -> None:
        """Says that the run is ending."""
        self._systemd.stopping()

    def close(self) -> None:
        """Writes the last status."""
        log("stopped")
        if self._file is not None:
            self._file.close(self._status())


def log(text: str) -> None:
    """Writes one line on stderr, where a service's journal takes it."""
    sys.stderr.write(f"irvis live: {text}\n")


class Systemd:
    """Tells systemd by sd_notify that the service is ready, alive or stopping; silent elsewhere."""

    def __init__(self, address: str | None = None) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        # A name that begins with @ lies in the abstract name space.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._frames = 0

    def ready(self) -> None:
        """Says that the first picture is out."""
        self._send("READY=1")

    def alive(self, frames: int, state: State) -> None:
        """Feeds the watchdog, but only where pictures have come out since the last call."""
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
            notify.sendto(text.encode(), self._address)
