"""`irvis doctor`: what this machine has and lacks, and what to do about it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from irvis_runtime import __version__
from irvis_runtime.atomic import write_text
from irvis_runtime.bench.fields import to_json
from irvis_runtime.board import ROOT, Board, read_board
from irvis_runtime.cli import Parser

from .check import MISSING, Check
from .fusing import all_checks

SCHEMA = 1
MARKS = {"ok": "ok", "warning": "warning", "missing": "MISSING"}


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor found."""

    schema: int
    date: str
    """ISO 8601, UTC."""
    irvis: str
    is_ready: bool
    """Whether `irvis fuse` can run here."""
    board: Board
    checks: tuple[Check, ...]


def main(argv: Sequence[str]) -> int:
    """Prints the table; exit code 0 where the runtime has what it needs, 1 where not."""
    parser = Parser(prog="irvis doctor", description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what was found as JSON as well")
    arguments = parser.parse_args(argv)
    diagnosis = diagnose()
    sys.stdout.write(table(diagnosis))
    if arguments.json is not None:
        write_text(arguments.json, to_json(diagnosis))
    return 0 if diagnosis.is_ready else 1


def diagnose(root: Path = ROOT) -> Diagnosis:
    """Runs every check."""
    checks = tuple(check() for check in all_checks(root))
    return Diagnosis(
        schema=SCHEMA,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        irvis=__version__,
        is_ready=not any(check.is_required and check.status == MISSING for check in checks),
        board=read_board(root),
        checks=checks,
    )


def table(diagnosis: Diagnosis, width: int | None = None) -> str:
    """The checks as text; `width` in characters, None takes the terminal's."""
    width = shutil.get_terminal_size((100, 24)).columns if width is None else width
    name_width = max(len(check.name) for check in diagnosis.checks) + 2
    mark_width = max(map(len, MARKS.values())) + 2
    lines = []
    for check in diagnosis.checks:
        head = f"{check.name:<{name_width}}{MARKS[check.status]:<{mark_width}}"
        lines += _wrap(check.found, head, width)
        if check.advice and check.status != "ok":
            lines += _wrap(f"-> {check.advice}", " " * len(head), width)
    verdict = "ready: `irvis fuse` runs here" if diagnosis.is_ready else "not ready: see MISSING above"
    return "\n".join([*lines, "", verdict, ""])


def _wrap(text: str, head: str, width: int) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        width=max(width, len(head) + 30),
        initial_indent=head,
        subsequent_indent=" " * len(head),
    ) or [head.rstrip()]
