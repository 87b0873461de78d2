"""Seams: tiles of a picture, fused one by one, against the picture fused as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from irvis_runtime.context import make_context
from irvis_runtime.image import match_infrared
from irvis_runtime.progress import Progress
from irvis_train.data import LabelledPair

from .contenders import Contender, Context, Frame, Picture
from .material import frame_of

OVERLAPS_PX = (32, 64, 128)
"""Shown beside the overlap of the receptive field."""
SMALLEST_WHOLE_PX = 1280
"""Smaller pictures are enlarged: a tile must be less than the whole, its overlap included."""
CHANGED_BLOCK_PX = 32
BLOCK_CHANGES: tuple[Callable[[Picture], Picture], ...] = (
    lambda block: 255 - block,
    lambda block: np.zeros_like(block),
    lambda block: np.full_like(block, 255),
)


@dataclass(frozen=True)
class Seams:
    """Tiles against the whole, over all pictures, in 8-bit levels."""

    overlap_px: int
    max_lsb: int
    p999_lsb: float
    """99.9 % of the pixels differ by at most this."""
    mean_lsb: float


@dataclass(frozen=True)
class TileSummary:
    """One contender: 2 x 2 tiles, each with an overlap towards the others, the whole's context given."""

    field_px: int | None
    """How far from a changed block of 32 px the picture changes by a level or more, the context held: the
    local network's receptive field as far as it matters. None where that reaches the picture's border, as
    with whole-image norms."""
    seams: dict[str, Seams]
    """By overlap in px; the receptive field's first, where there is one."""


def judge_tiles(contenders: Sequence[Contender], pairs: Sequence[LabelledPair]) -> dict[str, TileSummary]:
    """Seams of every contender on pairs enlarged to at least 1280 px.

    One that sees the whole picture is cut with the largest overlap of any other.
    """
    wholes = [enlarged(frame_of(pair)) for pair in pairs]
    found: dict[str, TileSummary] = {}
    with Progress("tiles", 2 * len(contenders)) as progress:
        fields: dict[str, int | None] = {}
        for contender in contenders:
            seen = [measure_field(contender, frame) for frame in wholes]
            known = [field for field in seen if field is not None]
            fields[contender.name] = max(known) if len(known) == len(seen) else None
            progress.step(contender.name)
        largest = max((field for field in fields.values() if field is not None), default=max(OVERLAPS_PX))
        for contender in contenders:
            field = fields[contender.name]
            first = _covering(largest if field is None else field, contender.multiple)
            overlaps = [first] if field is None else [first, *(px for px in OVERLAPS_PX if px < first)]
            found[contender.name] = TileSummary(field, _cut(contender, wholes, overlaps))
            progress.step(contender.name)
    return found


def _cut(contender: Contender, wholes: Sequence[Frame], overlaps: Sequence[int]) -> dict[str, Seams]:
    differences: dict[int, list[Picture]] = {overlap: [] for overlap in overlaps}
    for frame in wholes:
        context = make_context(*frame)
        whole = contender.fuse(*frame, context)
        for overlap, found in differences.items():
            tiled = fuse_tiles(contender, frame, context, overlap)
            found.append(np.abs(whole.astype(np.int16) - tiled).astype(np.uint8))
    return {str(overlap): _seams(overlap, found) for overlap, found in differences.items()}


def _covering(length_px: int, multiple: int) -> int:
    return math.ceil(length_px / multiple) * multiple


def enlarged(frame: Frame) -> Frame:
    """The pair with a longest side of 1280 px or more."""
    height, width = frame[0].shape
    scale = max(SMALLEST_WHOLE_PX / max(height, width), 1.0)
    size_hw = round(height * scale), round(width * scale)
    infrared, visible = (match_infrared(picture, size_hw)[0] for picture in frame)
    return infrared, visible


def fuse_tiles(contender: Contender, frame: Frame, context: Context, overlap_px: int) -> Picture:
    """Fuses 2 x 2 tiles with the whole's context and puts their cores together.

    Tiles begin at multiples of the model's own, as its blocks do; overlaps must be such too.
    """
    (height, width), multiple = frame[0].shape, contender.multiple
    middles = [side // 2 // multiple * multiple for side in (height, width)]
    whole = np.empty((height, width), np.uint8)
    for top, bottom in ((0, middles[0]), (middles[0], height)):
        for left, right in ((0, middles[1]), (middles[1], width)):
            start_row, start_column = max(top - overlap_px, 0), max(left - overlap_px, 0)
            window = (
                slice(start_row, min(bottom + overlap_px, height)),
                slice(start_column, min(right + overlap_px, width)),
            )
            tile = contender.fuse(frame[0][window], frame[1][window], context)
            core = tile[top - start_row : bottom - start_row, left - start_column : right - start_column]
            whole[top:bottom, left:right] = core
    return whole


def measure_field(contender: Contender, frame: Frame) -> int | None:
    """How far in px a block in the middle is seen, the context held; None where that reaches the border.

    The block becomes its negative, black and white in turn; it is seen where the picture changes by a level.
    What moves the picture by less is missed here, and found by the tiles.
    """
    height, width = frame[0].shape
    start = CHANGED_BLOCK_PX // 2
    rows, columns = (slice(side // 2 - start, side // 2 + start) for side in (height, width))
    context = make_context(*frame)
    before = contender.fuse(*frame, context)
    is_changed = np.zeros((height, width), bool)
    for change in BLOCK_CHANGES:
        infrared, visible = frame[0].copy(), frame[1].copy()
        for picture in (infrared, visible):
            picture[rows, columns] = change(picture[rows, columns])
        is_changed |= contender.fuse(infrared, visible, context) != before
    spans = [np.flatnonzero(is_changed.any(axis=axis)) for axis in (1, 0)]
    if any(
        span.size and (span[0] == 0 or span[-1] == side - 1)
        for span, side in zip(spans, (height, width), strict=True)
    ):
        return None
    reaches = [0]
    for span, block in zip(spans, (rows, columns), strict=True):
        if span.size:
            reaches += [block.start - int(span[0]), int(span[-1]) - (block.stop - 1)]
    return max(reaches)


def _seams(overlap_px: int, differences: Sequence[Picture]) -> Seams:
    values = np.concatenate([difference.ravel() for difference in differences])
    return Seams(overlap_px, int(values.max()), float(np.percentile(values, 99.9)), float(values.mean()))
