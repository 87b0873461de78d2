"""What the tests of outputs wait for, other processes too, and never for longer than a limit."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable

LIMIT_S = 180.0
"""A machine that is busy is no fault; one that is stuck fails the test instead of hanging it."""


def until(condition: Callable[[], bool]) -> None:
    """Waits for the condition; the test fails where it does not come true."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def received(process: subprocess.Popen[bytes], count: int) -> bytes:
    """The next `count` bytes that the process writes; fewer where it ends or writes none in time."""
    assert process.stdout is not None
    # Not through the pipe's buffer, which waits until it is full and knows no limit.
    descriptor, content = process.stdout.fileno(), bytearray()
    end_s = time.monotonic() + LIMIT_S
    while len(content) < count:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end_s - time.monotonic()))
        piece = os.read(descriptor, count - len(content)) if ready else b""
        if not piece:
            break
        content += piece
    return bytes(content)


def told(process: subprocess.Popen[bytes]) -> str:
    """The next line that the process writes, without its end; fails where it ends or writes none in time."""
    line = b""
    while not line.endswith(b"\n"):
        piece = received(process, 1)
        assert piece, f"the process ended or is stuck after {line!r}"
        line += piece
    return line.decode().strip()
