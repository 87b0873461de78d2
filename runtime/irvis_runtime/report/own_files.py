"""Which files are reports: only these are written over."""

from __future__ import annotations

from pathlib import Path

from irvis_runtime.errors import ContractError

MADE_AGAIN = "How to make this again"
"""The heading of every report's last section, by which one is known."""
MARKS = {".md": f"### {MADE_AGAIN}\n", ".svg": 'class="pareto"'}
PAGE_MARK = f"<h3>{MADE_AGAIN}</h3>"


def check_replaceable_report(path: Path) -> None:
    """ContractError for a file that is there and was not written by `irvis report`; an empty one may go."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and MARKS.get(path.suffix.lower(), PAGE_MARK).encode() not in content:
        raise ContractError(
            f"{path}: expected no file or an older report, got a file that `irvis report` did not write; "
            "name another --output or move it away"
        )
