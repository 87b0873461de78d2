"""Which pieces of a recording stay on the disk: the oldest go, and only those that bear its name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from irvis_runtime.errors import BackendError

TIME_PATTERN = r"\d{8}T\d{6}Z"
LEAST_FREE_MIB = 4
"""With less room a new piece is not begun: it would be all header."""


@dataclass
class Retention:
    """Deletes the oldest finished pieces of `template`, a name in which `{time}` may be any run's start.

    `keep_pieces`: how many stay, the one that grows among them; 0: all. `keep_free_mib`: the room to keep.
    The order is that of their times of change, with this run's own pieces last: a clock that begins in 1970
    must not make the newest pieces the oldest.
    """

    template: Path
    keep_pieces: int
    keep_free_mib: int
    report: Callable[[str], None]
    own: list[Path] = field(default_factory=list)
    """This run's finished pieces, in their order."""

    def make_room(self) -> None:
        """Deletes what is too much before a piece begins; BackendError where it still has no room."""
        if self.keep_pieces:
            for piece in self._pieces()[: 1 - self.keep_pieces or None]:
                self._delete(piece)
        self.find_room()
        least_mib = max(self.keep_free_mib, LEAST_FREE_MIB)
        if self._free_mib() < least_mib:
            raise BackendError(
                f"less than {least_mib} MiB are free in {self.template.parent}; "
                "free some space or name another folder"
            )

    def find_room(self) -> bool:
        """Whether there is the room to keep; deletes old pieces for it, but none where all are not enough."""
        missing_mib = self.keep_free_mib - self._free_mib()
        if not self.keep_free_mib or missing_mib <= 0:
            return True
        pieces = self._pieces()
        if sum(path.stat().st_size for path in pieces) < missing_mib * 2**20:
            return False
        while pieces and self._free_mib() < self.keep_free_mib:
            self._delete(pieces.pop(0))
        return self._free_mib() >= self.keep_free_mib

    def _free_mib(self) -> float:
        room = os.statvfs(self.template.parent)
        return room.f_bavail * room.f_frsize / 2**20

    def _pieces(self) -> list[Path]:
        """The finished pieces, the oldest first."""
        found = []
        for path in self._named(""):
            if path not in self.own:
                with suppress(OSError):
                    found.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(found)] + [path for path in self.own if path.exists()]

    def unfinished(self) -> list[Path]:
        """What runs of this name have not closed: they grow still, or were killed."""
        return self._named(".part")

    def _named(self, ending: str) -> list[Path]:
        """The files of this recording's name, of any start and number."""
        stem = re.escape(self.template.stem).replace(re.escape("{time}"), TIME_PATTERN)
        name = re.compile(rf"{stem}(-\d+)*{re.escape(self.template.suffix + ending)}")
        return [path for path in self.template.parent.iterdir() if name.fullmatch(path.name)]

    def _delete(self, piece: Path) -> None:
        with suppress(OSError):
            piece.unlink()
            self.report(f"{piece} was deleted: its output keeps {self._kept_text()}")

    def _kept_text(self) -> str:
        kept = [f"{self.keep_pieces} pieces"] if self.keep_pieces else []
        return " and ".join([*kept, *([f"{self.keep_free_mib} MiB free"] if self.keep_free_mib else [])])
