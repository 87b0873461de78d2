"""Likeness to the published checkpoint: PSNR and SSIM over pairs, as training validates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from irvis_runtime.metrics import evaluate
from irvis_runtime.progress import Progress
from irvis_train.data import LabelledPair, as_tensor
from irvis_train.losses import psnr_db

from .contenders import PUBLISHED, Contender, Picture


@dataclass(frozen=True)
class PairLikeness:
    """One picture against the teacher's of the same pair."""

    psnr_db: float
    """Against the teacher's output before it is rounded to 8 bits."""
    ssim: float


@dataclass(frozen=True)
class Likeness:
    """One model over all pairs; every pair counts alike, whatever its size."""

    psnr_db: float
    worst_psnr_db: float
    worst_pair: str
    ssim: float
    worst_ssim: float
    pairs: dict[str, PairLikeness]


def judge_likeness(contenders: Sequence[Contender], pairs: Sequence[LabelledPair]) -> dict[str, Likeness]:
    """Likeness of every model by name; the published student is the measure itself and has none."""
    rows: dict[str, dict[str, PairLikeness]] = {}
    with Progress("likeness", len(pairs)) as progress:
        for pair in pairs:
            for contender in contenders:
                if contender.name != PUBLISHED:
                    fused_hw = contender.fuse(pair.infrared_hw, pair.visible_hw, None)
                    rows.setdefault(contender.name, {})[pair.name] = compare(fused_hw, pair)
            progress.step(pair.name)
    return {name: _summarize(by_pair) for name, by_pair in rows.items()}


def compare(fused_hw: Picture, pair: LabelledPair) -> PairLikeness:
    """A fused picture against the pair's target."""
    target = torch.from_numpy(pair.target_hw).float()
    target_hw = torch.round(target * 255.0).to(torch.uint8).numpy()
    # `evaluate` sums SSIM over its two sources; here both are the teacher's picture.
    ssim = evaluate(fused_hw, target_hw, target_hw, names=["SSIM"])["SSIM"] / 2.0
    return PairLikeness(psnr_db(as_tensor(fused_hw), target[None, None]), ssim)


def _summarize(by_pair: dict[str, PairLikeness]) -> Likeness:
    worst = min(by_pair, key=lambda name: by_pair[name].psnr_db)
    return Likeness(
        psnr_db=float(np.mean([row.psnr_db for row in by_pair.values()])),
        worst_psnr_db=by_pair[worst].psnr_db,
        worst_pair=worst,
        ssim=float(np.mean([row.ssim for row in by_pair.values()])),
        worst_ssim=min(row.ssim for row in by_pair.values()),
        pairs=by_pair,
    )
