"""Whether a picture that is mirrored or moved is fused to the same picture, mirrored or moved.

What strides and whole-picture norms make of a teacher decides which targets a student can reach: a crop may
keep its picture's target only where the teacher itself would keep it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irvis_runtime.context import make_context
from irvis_runtime.progress import Progress
from irvis_train.data import LabelledPair, as_tensor
from irvis_train.losses import psnr_db

from .contenders import Contender, Context, Picture

SHIFTS_PX = (1, 2, 4, 8)
INSIDE_PX = 96
"""Left out on all sides: what reaches a picture from its border is another matter."""


def judge_moved(
    contenders: Sequence[Contender], pairs: Sequence[LabelledPair]
) -> dict[str, dict[str, float]]:
    """Mean PSNR in dB by contender and change; a student keeps the whole picture's context."""
    found: dict[str, dict[str, list[float]]] = {}
    with Progress("moved pictures", len(pairs) * len(contenders)) as progress:
        for pair in pairs:
            for contender in contenders:
                rows = found.setdefault(contender.name, {})
                for change, agreement_db in _agreements(contender, pair).items():
                    rows.setdefault(change, []).append(agreement_db)
                progress.step(contender.name)
    return {
        name: {change: float(np.mean(values)) for change, values in rows.items()}
        for name, rows in found.items()
    }


def _agreements(contender: Contender, pair: LabelledPair) -> dict[str, float]:
    context = make_context(pair.infrared_hw, pair.visible_hw)
    whole = contender.fuse(pair.infrared_hw, pair.visible_hw, context)
    mirrored_context: Context = np.ascontiguousarray(context[..., ::-1])
    mirrored = contender.fuse(
        np.ascontiguousarray(pair.infrared_hw[:, ::-1]),
        np.ascontiguousarray(pair.visible_hw[:, ::-1]),
        mirrored_context,
    )
    found = {"mirrored": _agreement_db(mirrored[:, ::-1], whole)}
    for shift in SHIFTS_PX:
        infrared_hw, visible_hw = (
            np.ascontiguousarray(plane[shift:, shift:]) for plane in (pair.infrared_hw, pair.visible_hw)
        )
        moved = contender.fuse(infrared_hw, visible_hw, context)
        found[f"moved by {shift} px"] = _agreement_db(_inside(moved), _inside(whole[shift:, shift:]))
    return found


def _inside(picture_hw: Picture) -> Picture:
    rows, columns = (min(INSIDE_PX, (side - 1) // 3) for side in picture_hw.shape)
    return picture_hw[rows:-rows, columns:-columns]


def _agreement_db(a: Picture, b: Picture) -> float:
    return psnr_db(as_tensor(a), as_tensor(b))
