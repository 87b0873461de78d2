"""Sheets of pictures: a row a pair, a column a teacher, whole and in detail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv, write_picture

WHOLE_PX = 320
"""Width of a whole picture."""
DETAIL_PX = 160
"""Side of the window that is shown enlarged, without smoothing: a checkerboard of 2 px must be seen."""
ENLARGED = 2
CAPTION_PX = 24
BACKGROUND = 255


@dataclass(frozen=True)
class Row:
    """One pair."""

    name: str
    pictures_hw: Sequence[NDArray[np.uint8]]
    """One a column, all of one size."""
    centre: tuple[int, int]
    """Row and column about which the detail is shown."""


def write_sheets(folder: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Writes sheet.png, of whole pictures, and detail.png, of windows at twice their size."""
    for name, cell in (("sheet.png", _whole), ("detail.png", _detail)):
        write_picture(
            folder / name,
            _sheet(columns, rows, [[cell(row, i) for i in range(len(columns))] for row in rows]),
        )


def _sheet(
    columns: Sequence[str], rows: Sequence[Row], cells: Sequence[Sequence[NDArray[np.uint8]]]
) -> NDArray[np.uint8]:
    width = cells[0][0].shape[1]
    strips = [np.concatenate([_caption(name, width) for name in columns], axis=1)]
    for row, pictures in zip(rows, cells, strict=True):
        strips += [_caption(row.name, width * len(columns)), np.concatenate(pictures, axis=1)]
    return np.concatenate(strips, axis=0)


def _whole(row: Row, column: int) -> NDArray[np.uint8]:
    cv2 = opencv()
    picture = row.pictures_hw[column]
    height = max(1, round(picture.shape[0] * WHOLE_PX / picture.shape[1]))
    shown: NDArray[np.uint8] = cv2.resize(picture, (WHOLE_PX, height), interpolation=cv2.INTER_AREA)
    return shown


def _detail(row: Row, column: int) -> NDArray[np.uint8]:
    picture = row.pictures_hw[column]
    window = np.full((DETAIL_PX, DETAIL_PX), BACKGROUND, np.uint8)
    corner = [
        max(0, min(middle - DETAIL_PX // 2, side - DETAIL_PX))
        for middle, side in zip(row.centre, picture.shape, strict=True)
    ]
    part = picture[corner[0] : corner[0] + DETAIL_PX, corner[1] : corner[1] + DETAIL_PX]
    window[: part.shape[0], : part.shape[1]] = part
    return window.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def _caption(text: str, width: int) -> NDArray[np.uint8]:
    cv2 = opencv()
    strip = np.full((CAPTION_PX, width), BACKGROUND, np.uint8)
    cv2.putText(strip, text, (4, CAPTION_PX - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 0, 1, cv2.LINE_AA)
    return strip
