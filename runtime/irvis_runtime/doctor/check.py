"""What one check of the doctor says."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, MISSING = "ok", "warning", "missing"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: str
    """"ok", "warning" or "missing"."""
    found: str
    advice: str = ""
    """What to do; empty where nothing needs doing."""
    is_required: bool = False
    """Whether `irvis fuse` cannot run without it."""
