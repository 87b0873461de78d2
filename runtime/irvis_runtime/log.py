"""The live run's log: one line an event on stderr, where a service's journal takes it."""

from __future__ import annotations

import json
import select
import sys
from contextlib import suppress
from datetime import datetime, timezone
from typing import Literal, TextIO

PATIENCE_S = 0.05
"""A reader that takes longer, as a stopped `tee` or a terminal behind a dead link, costs the line."""
LogForm = Literal["text", "json"]

_form: list[LogForm] = ["text"]


def choose_log(form: LogForm) -> None:
    """Chooses how lines are written: as text for people, or as one JSON object a line."""
    _form[0] = form


def log(text: str, **fields: object) -> None:
    """Writes one line; JSON lines carry the time (UTC), the text as `message`, and the fields.

    A line that cannot be written is lost, and the picture goes on: the disk is full, the reader gone, or it
    does not read.
    """
    if _form[0] == "json":
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "message": text, **fields}, default=str)
    else:
        line = f"irvis live: {text}"
    with suppress(OSError, ValueError):
        if _takes_a_line(sys.stderr):
            sys.stderr.write(f"{line}\n")


def _takes_a_line(stream: TextIO | None) -> bool:
    """Whether the stream would take a line within `PATIENCE_S`; ValueError for a closed one."""
    if stream is None:
        # The process was started without a stderr (`2>&-`).
        return False
    try:
        handle = stream.fileno()
    except OSError:
        # No stream of the system, as in a test.
        return True
    poll = select.poll()
    poll.register(handle, select.POLLOUT)
    return bool(poll.poll(PATIENCE_S * 1e3))
