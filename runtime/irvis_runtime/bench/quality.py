"""How good the contenders' pictures are: near the teacher, near FP32, and by the field's metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.metrics import METRICS, evaluate, psnr, ssim

from .file import AVERAGE, BASELINES, MAXIMUM, TEACHER, Fidelity, FidelitySummary, Score

DEFAULT_METRICS = ("EN", "SD", "SF", "AG", "MI", "SCD", "SSIM", "VIF", "Qabf")

Picture = NDArray[np.uint8]


def baselines(infrared_hw: Picture, visible_hw: Picture) -> dict[str, Picture]:
    """The trivial fusions that a network has to beat: the mean and the larger of the two, pixel by pixel."""
    mean_hw = (infrared_hw.astype(np.uint16) + visible_hw + 1) // 2
    return {AVERAGE: mean_hw.astype(np.uint8), MAXIMUM: np.maximum(infrared_hw, visible_hw)}


def fidelity(picture_hw: Picture, reference_hw: Picture) -> Fidelity:
    """How near a picture is to its reference, both uint8 (H, W) of equal size from 11 x 11 up."""
    differences = np.abs(picture_hw.astype(np.int16) - reference_hw)
    db = psnr(picture_hw, reference_hw, reference_hw)
    return Fidelity(
        psnr_db=db if math.isfinite(db) else None,
        # The metric is the sum over two sources, which are here the same one.
        ssim=ssim(picture_hw, reference_hw, reference_hw) / 2,
        max_lsb=int(differences.max()),
        p99_lsb=_quantile(differences, 0.99),
    )


def summarize_fidelity(by_pair: Mapping[str, Fidelity]) -> FidelitySummary:
    """Mean and worst over all pairs."""
    decibels = {name: row.psnr_db for name, row in by_pair.items() if row.psnr_db is not None}
    worst_pair = min(decibels, key=lambda name: decibels[name], default=None)
    similarities = [row.ssim for row in by_pair.values()]
    return FidelitySummary(
        psnr_db_mean=sum(decibels.values()) / len(decibels) if decibels else None,
        psnr_db_worst=decibels[worst_pair] if worst_pair is not None else None,
        worst_pair=worst_pair,
        ssim_mean=sum(similarities) / len(similarities),
        ssim_worst=min(similarities),
        max_lsb=max(row.max_lsb for row in by_pair.values()),
        p99_lsb_worst=max(row.p99_lsb for row in by_pair.values()),
        pairs=len(by_pair),
        identical_pairs=len(by_pair) - len(decibels),
    )


def score_pair(
    pictures: Mapping[str, Picture], infrared_hw: Picture, visible_hw: Picture, metrics: Sequence[str]
) -> dict[str, Score]:
    """Scores every contender's picture of one pair; "teacher" and "fp32", where there, are the references."""
    references = {name: pictures[name] for name in (TEACHER, "fp32") if name in pictures}
    return {
        name: Score(
            to_teacher=_fidelity_to(TEACHER, name, picture_hw, references),
            to_fp32=None
            if name in (TEACHER, *BASELINES)
            else _fidelity_to("fp32", name, picture_hw, references),
            metrics=measure(picture_hw, infrared_hw, visible_hw, metrics),
        )
        for name, picture_hw in pictures.items()
    }


def measure(
    fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture, metrics: Sequence[str]
) -> dict[str, float | None]:
    """The metrics by name; None where the pictures are too small for one or its value is not finite."""
    fits = [name for name in metrics if METRICS[name].smallest_side_px <= min(fused_hw.shape)]
    values = evaluate(fused_hw, infrared_hw, visible_hw, fits)
    return {name: values[name] if math.isfinite(values.get(name, math.nan)) else None for name in metrics}


def mean_metrics(rows: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each metric over all pairs; None where a pair lacks it: a part compares with nothing."""
    means: dict[str, float | None] = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row[name]) is not None]
        means[name] = sum(values) / len(values) if len(values) == len(rows) else None
    return means


def _fidelity_to(
    reference: str, name: str, picture_hw: Picture, references: Mapping[str, Picture]
) -> Fidelity | None:
    if name == reference or reference not in references:
        return None
    return fidelity(picture_hw, references[reference])


def _quantile(differences: NDArray[np.int16], share: float) -> int:
    """The smallest level that at least `share` of the pixels do not exceed."""
    reached = np.cumsum(np.bincount(differences.ravel(), minlength=256)) >= share * differences.size
    return int(np.argmax(reached))
