"""Robustness: degraded inputs, judged by the published student's picture of the clean ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from irvis_runtime.progress import Progress
from irvis_train.data import LabelledPair, as_tensor
from irvis_train.degrade import INFRARED, VISIBLE, degrade_pair

from .contenders import PUBLISHED, Contender, Frame, Picture

AS_TRAINED = "as drawn in training"
"""One or two degradations at random severities, `degrade_pair`."""
LEAST_ERROR = 0.01
"""Squared grey levels; equal pictures count as 68 dB."""


@dataclass(frozen=True)
class Damage:
    """One degradation at one severity, mean over the pairs; all against the clean published picture."""

    degradation: str
    severity: float
    psnr_db: float
    """Of the model on degraded inputs."""
    published_psnr_db: float
    """Of the published student on the same inputs."""
    loss_db: float
    """What the model loses against its own picture of the clean inputs."""
    published_loss_db: float
    """What the model would lose if its picture moved as far as the published student's does.

    The published student's own loss has no bound, because its clean picture is the measure. Its damage is
    therefore added to the error that the model has on clean inputs: 10 log10(1 + damage / error).
    """


@dataclass(frozen=True)
class RobustnessSummary:
    """One model over all degradations."""

    clean_psnr_db: float
    psnr_db: float
    published_psnr_db: float
    loss_db: float
    published_loss_db: float
    ahead: int
    """Degradations, each at each severity, in which the model loses less."""
    ahead_in_psnr: int
    """The same, in which the model's picture is nearer to the clean published one than the published
    student's own. A model of few dB on clean inputs cannot be so at low severity."""
    rows: tuple[Damage, ...]


Degrade = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]


def judge_robustness(
    contenders: Sequence[Contender], pairs: Sequence[LabelledPair], severities: Sequence[float]
) -> dict[str, RobustnessSummary]:
    """Robustness of every model, under each degradation alone and as training draws them."""
    cases = list(list_cases(severities))
    errors: dict[str, list[list[float]]] = {contender.name: [] for contender in contenders}
    clean = {c.name: [_error(_fuse(c, (p.infrared_hw, p.visible_hw)), p) for p in pairs] for c in contenders}
    with Progress("robustness", len(cases) * len(pairs)) as progress:
        for name, _, change in cases:
            rows: dict[str, list[float]] = {contender.name: [] for contender in contenders}
            for number, pair in enumerate(pairs):
                frame = degraded(pair, change, seed=number)
                for contender in contenders:
                    rows[contender.name].append(_error(_fuse(contender, frame), pair))
                progress.step(name)
            for contender_name, row in rows.items():
                errors[contender_name].append(row)
    labels = [(name, severity) for name, severity, _ in cases]
    return {
        name: _summarize(labels, clean[name], by_case, errors[PUBLISHED])
        for name, by_case in errors.items()
        if name != PUBLISHED
    }


def list_cases(severities: Sequence[float]) -> Iterator[tuple[str, float, Degrade]]:
    """Every degradation at every severity: its name, the severity, and what does it to a pair."""
    for sensor, known in (("visible", VISIBLE), ("infrared", INFRARED)):
        for name in known:
            for severity in severities:
                yield f"{sensor} {name}", severity, _single(sensor, name, severity)
    yield AS_TRAINED, 1.0, _drawn


def degraded(pair: LabelledPair, change: Degrade, seed: int) -> Frame:
    """The pair after a degradation, in 8 bits, as a camera would give it."""
    random = np.random.default_rng(seed)
    planes = change(as_tensor(pair.infrared_hw), as_tensor(pair.visible_hw), random)
    infrared, visible = (
        torch.round(plane[0, 0].clamp(0.0, 1.0) * 255.0).to(torch.uint8).numpy() for plane in planes
    )
    return infrared, visible


def _single(sensor: str, name: str, severity: float) -> Degrade:
    def change(infrared: Tensor, visible: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        if sensor == "visible":
            return infrared, VISIBLE[name](visible, severity, random)
        return INFRARED[name](infrared, severity, random), visible

    return change


def _drawn(infrared: Tensor, visible: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    return degrade_pair(infrared, visible, random)[:2]


def _fuse(contender: Contender, frame: Frame) -> Picture:
    return contender.fuse(*frame, None)


def _error(fused_hw: Picture, pair: LabelledPair) -> float:
    difference = fused_hw.astype(np.float32) - pair.target_hw.astype(np.float32) * np.float32(255.0)
    return max(float(np.mean(difference * difference, dtype=np.float64)), LEAST_ERROR)


def _decibels(error: float) -> float:
    return 10.0 * math.log10(255.0**2 / error)


def _summarize(
    labels: Sequence[tuple[str, float]],
    clean: Sequence[float],
    errors: Sequence[Sequence[float]],
    published: Sequence[Sequence[float]],
) -> RobustnessSummary:
    rows = []
    for (name, severity), ours, theirs in zip(labels, errors, published, strict=True):
        row = Damage(
            degradation=name,
            severity=severity,
            psnr_db=float(np.mean([_decibels(error) for error in ours])),
            published_psnr_db=float(np.mean([_decibels(error) for error in theirs])),
            loss_db=float(np.mean([10.0 * math.log10(e / c) for e, c in zip(ours, clean, strict=True)])),
            published_loss_db=float(
                np.mean([10.0 * math.log10(1.0 + e / c) for e, c in zip(theirs, clean, strict=True)])
            ),
        )
        rows.append(row)
    return RobustnessSummary(
        clean_psnr_db=float(np.mean([_decibels(error) for error in clean])),
        psnr_db=float(np.mean([row.psnr_db for row in rows])),
        published_psnr_db=float(np.mean([row.published_psnr_db for row in rows])),
        loss_db=float(np.mean([row.loss_db for row in rows])),
        published_loss_db=float(np.mean([row.published_loss_db for row in rows])),
        ahead=sum(row.loss_db < row.published_loss_db for row in rows),
        ahead_in_psnr=sum(row.psnr_db > row.published_psnr_db for row in rows),
        rows=tuple(rows),
    )
