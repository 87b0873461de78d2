"""A white patch appears: how far distant pixels jump, and how long the picture then takes to settle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import ContextSmoother, make_context
from irvis_runtime.image import opencv
from irvis_runtime.progress import Progress
from irvis_train.data import LabelledPair

from .contenders import FRAMES_PER_S, Contender, Frame, Picture, make_smoother
from .material import frame_of

PATCH_WIDTH_PX, PATCH_HEIGHT_PX = 60, 80
DISTANT_PX = 64.0
BANDS_PX = (0.0, 64.0, 128.0, 256.0)
"""Distances from the patch at which a band begins; the last one has no end."""
SETTLED_SHARE = 0.9
MAX_FRAMES = 255
FOLLOWED_FRAMES = 15
"""From the patch's first on; the later steps of an exponential are smaller."""
WORTH_FOLLOWING = 0.25
"""Grey levels; a picture that changes less in the end has nothing to settle."""
KINDS = ("visible", "infrared", "both")
"""The pictures in which the patch appears."""


@dataclass(frozen=True)
class Jump:
    """What a patch does to one contender's picture of one pair, in grey levels, mean absolute values."""

    distant: float
    """Change of the pixels more than 64 px away from one frame to the next: the largest step of the
    first half second, and of where the smoothed context moves most."""
    distant_p99: float
    """99 % of those pixels change by at most this when the patch appears."""
    bands: tuple[float | None, ...]
    """Change by distance, BANDS_PX, when the patch appears; None where the picture has no such pixels."""
    final: float
    """Change of the distant pixels in the end."""
    settling_frames: int | None
    """Frames from the patch's first on until 90 % of that is done; None where it is too small to follow."""


@dataclass(frozen=True)
class JumpSummary:
    """One contender and one kind of patch over all pairs."""

    distant: float
    worst_distant: float
    worst_pair: str
    bands: tuple[float | None, ...]
    final: float
    settling_s: float | None
    """Median over the pairs that could be followed."""
    longest_settling_s: float | None
    pairs: dict[str, Jump]


def judge_patch(
    contenders: Sequence[Contender], pairs: Sequence[LabelledPair], context_s: float | None
) -> dict[str, dict[str, JumpSummary]]:
    """Jumps of every contender by the picture in which the patch appears: KINDS.

    Pairs without pixels that are distant from the patch are passed over.
    """
    pairs = [pair for pair in pairs if (add_patch(frame_of(pair), "both")[1] > DISTANT_PX).any()]
    found: dict[str, dict[str, dict[str, Jump]]] = {}
    with Progress("patch", len(pairs) * len(KINDS)) as progress:
        for pair in pairs:
            for kind in KINDS:
                for contender in contenders:
                    jump = measure_jump(contender, frame_of(pair), kind, make_smoother(context_s))
                    found.setdefault(contender.name, {}).setdefault(kind, {})[pair.name] = jump
                progress.step(pair.name)
    return {
        name: {kind: _summarize(rows) for kind, rows in by_kind.items()} for name, by_kind in found.items()
    }


def add_patch(frame: Frame, kind: str) -> tuple[Frame, NDArray[np.float32]]:
    """The pair with a white patch of 60 x 80 px an eighth from the top left, and distances from it in px."""
    height, width = frame[0].shape
    rows, columns = (
        slice(side // 8, min(side // 8 + patch, side - 1))
        for side, patch in ((height, PATCH_HEIGHT_PX), (width, PATCH_WIDTH_PX))
    )
    infrared, visible = frame[0].copy(), frame[1].copy()
    if kind != "visible":
        infrared[rows, columns] = 255
    if kind != "infrared":
        visible[rows, columns] = 255
    outside = np.ones((height, width), np.uint8)
    outside[rows, columns] = 0
    cv2 = opencv()
    distances: NDArray[np.float32] = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return (infrared, visible), distances


def measure_jump(contender: Contender, frame: Frame, kind: str, smoother: ContextSmoother) -> Jump:
    """Fuses the frame before the patch, the one with it, and those that tell how the picture settles.

    The largest jump is looked for in the first half second and where the smoothed context moves most.
    """
    changed, distances = add_patch(frame, kind)
    is_distant = distances > DISTANT_PX
    own = make_context(*changed)
    contexts = [smoother.update(make_context(*frame), 0.0)]
    contexts += [smoother.update(own, 1.0 / FRAMES_PER_S) for _ in range(MAX_FRAMES)]
    before, final = contender.fuse(*frame, contexts[0]), contender.fuse(*changed, own)

    @cache
    def shown(count: int) -> Picture:
        return contender.fuse(*changed, contexts[count])

    first = _difference(shown(1), before)
    jumps = [float(first[is_distant].mean())]
    fastest = 1 + int(np.argmax([np.abs(b - a).mean() for a, b in pairwise(contexts)]))
    for count in sorted({*range(2, FOLLOWED_FRAMES + 1), max(fastest, 2)}):
        jumps.append(float(_difference(shown(count), shown(count - 1))[is_distant].mean()))
    whole = float(_difference(final, before)[is_distant].mean())
    settling = None
    if whole >= WORTH_FOLLOWING:
        limit = (1.0 - SETTLED_SHARE) * whole
        settling = first_settled(lambda n: float(_difference(shown(n), final)[is_distant].mean()), limit)
    return Jump(
        distant=max(jumps),
        distant_p99=float(np.percentile(first[is_distant], 99)),
        bands=_by_band(first, distances),
        final=whole,
        settling_frames=settling,
    )


def first_settled(remaining: Callable[[int], float], limit: float) -> int | None:
    """The first frame from 1 on whose remaining change is within the limit; None where MAX_FRAMES is not.

    Halves the span, as what remains of a change only shrinks.
    """
    if remaining(MAX_FRAMES) > limit:
        return None
    low, high = 0, MAX_FRAMES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if remaining(middle) > limit else (low, middle)
    return high


def _by_band(change: NDArray[np.float32], distances: NDArray[np.float32]) -> tuple[float | None, ...]:
    means: list[float | None] = []
    for start, end in zip(BANDS_PX, (*BANDS_PX[1:], np.inf), strict=True):
        band = change[(distances > start) & (distances <= end)]
        means.append(float(band.mean()) if band.size else None)
    return tuple(means)


def _difference(picture_hw: Picture, other_hw: Picture) -> NDArray[np.float32]:
    difference: NDArray[np.float32] = np.abs(picture_hw.astype(np.float32) - other_hw)
    return difference


def _summarize(rows: dict[str, Jump]) -> JumpSummary:
    worst = max(rows, key=lambda name: rows[name].distant)
    settling = [row.settling_frames / FRAMES_PER_S for row in rows.values() if row.settling_frames]
    columns = zip(*(row.bands for row in rows.values()), strict=True)
    bands = [[value for value in column if value is not None] for column in columns]
    return JumpSummary(
        distant=float(np.mean([row.distant for row in rows.values()])),
        worst_distant=rows[worst].distant,
        worst_pair=worst,
        bands=tuple(float(np.mean(band)) if band else None for band in bands),
        final=float(np.mean([row.final for row in rows.values()])),
        settling_s=float(np.median(settling)) if settling else None,
        longest_settling_s=max(settling, default=None),
        pairs=rows,
    )
