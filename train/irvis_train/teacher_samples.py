"""What a teacher in training does to some pairs: pictures beside those of its start, and measures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from irvis_runtime.image import write_picture

from .checkerboard import checkerboard_db
from .hot_targets import background_gradient, find_hot_targets, target_contrast
from .teacher_data import TrainingPair


def write_samples(
    network: nn.Module, start: nn.Module, pairs: Sequence[TrainingPair], folder: Path, step: int
) -> Mapping[str, float]:
    """Writes `<step>-<pair>.png` with infrared, visible, the start's picture and the network's, side by side.

    Returns target contrast and background gradient in grey levels, and the checkerboard's energy in dB at its
    strongest period: means over the pairs that have targets and are large enough.
    """
    device = next(network.parameters()).device
    measures: dict[str, list[float]] = {}
    for index, pair in enumerate(pairs):
        planes = pair.planes().to(device)
        infrared, visible = planes[:, :1], planes[:, 1:]
        with torch.no_grad():
            before, after = (net(infrared, visible).clamp(0.0, 1.0) for net in (start, network))
        for name, value in _measures(after, infrared, visible).items():
            measures.setdefault(name, []).append(value)
        row = torch.cat([infrared, visible, before, after], dim=-1)[0, 0]
        picture = (row * 255.0).round().to(torch.uint8).cpu().numpy()
        write_picture(folder / f"{step:06d}-{index:02d}.png", picture)
    finite = {name: [value for value in values if math.isfinite(value)] for name, values in measures.items()}
    return {name: sum(values) / len(values) for name, values in finite.items() if values}


def _measures(fused: Tensor, infrared: Tensor, visible: Tensor) -> dict[str, float]:
    mask = find_hot_targets(infrared)
    return {
        "target_contrast": float(target_contrast(fused, mask)),
        "background_gradient": float(background_gradient(fused, mask)),
        "checkerboard_db": max(checkerboard_db(fused, infrared, visible).values()),
    }
