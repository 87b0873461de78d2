"""The live run's log: one line an event on stderr, where a service's journal takes it."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import datetime, timezone
from typing import Literal

LogForm = Literal["text", "json"]

_form: list[LogForm] = ["text"]


def choose_log(form: LogForm) -> None:
    """Chooses how lines are written: as text for people, or as one JSON object a line."""
    _form[0] = form


def log(text: str, **fields: object) -> None:
    """Writes one line; JSON lines carry the time (UTC), the text as `message`, and the fields.

    A line that cannot be written, to a full disk or to a reader that is gone, is lost: the picture goes on.
    """
    if _form[0] == "json":
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "message": text, **fields}, default=str)
    else:
        line = f"irvis live: {text}"
    # A process that was started without a stderr (`2>&-`) has none here; a closed one raises ValueError.
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
