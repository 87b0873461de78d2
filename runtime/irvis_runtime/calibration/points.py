"""Point pairs read from a text file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.checked_files import read_file

from .fit import Points

MAX_BYTES = 1 << 20


def read_points(path: Path) -> tuple[Points, Points]:
    """Returns the infrared and the visible points of a file, (N, 2) x and y each, in pixels.

    A line holds infrared x, infrared y, visible x, visible y, between commas or blanks; pixel centres at
    whole numbers. What follows a # is a comment, and a first line of names is passed over. ContractError
    names the line that holds anything else.
    """
    expected = "expected four numbers a line: infrared x, infrared y, visible x, visible y"
    try:
        lines = read_file(path, "a file of point pairs", MAX_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ContractError(f"{path}: {expected}; got bytes that are not UTF-8 at {error.start}") from error
    rows: list[list[float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").replace(";", " ").split()
        if not words or (not rows and all(word[0].isalpha() or word[0] == "_" for word in words)):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != 4 or not np.isfinite(row).all():
            raise ContractError(f"{path}: line {number}: {expected}, got {line.strip()[:60]!r}; correct it")
        rows.append(row)
    if not rows:
        raise ContractError(f"{path}: {expected}; got no points")
    table_n4 = np.array(rows, np.float64)
    return table_n4[:, :2], table_n4[:, 2:]
