"""Pairs to train a teacher on, and batches of crops that seed, step and place in the batch decide."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.contract import MIN_SIDE_PX
from irvis_runtime.errors import ContractError
from irvis_runtime.pairs import find_dataset_pairs, leave_out, read_pair
from irvis_runtime.progress import Progress

from .hot_targets import find_hot_targets, has_targets

MOST_BROKEN = 0.05
"""Share of pairs that may be unreadable; more is no accident."""
LEAST_DEVIATION = 0.05
"""A crop in which both pictures are flatter than this teaches nothing and is drawn again, as published."""
DRAWS = 10
TURN_DEGREES = 5.0
SHEAR_DEGREES = 5.0
PLACES = 64
"""Pixels of targets that are kept for a pair, to centre crops on."""


@dataclass(frozen=True)
class TrainingPair:
    """A pair as it is trained on."""

    name: str
    infrared_hw: NDArray[np.uint8]
    visible_hw: NDArray[np.uint8]
    places_p2: NDArray[np.int64]
    """Row and column of pixels in hot targets; none where there are no targets."""

    def planes(self) -> Tensor:
        """(1, 2, H, W) in [0, 1]: infrared, visible."""
        return torch.from_numpy(np.stack([self.infrared_hw, self.visible_hw]))[None].float() / 255.0


@dataclass(frozen=True)
class TeacherBatch:
    """Crops (N, 1, S, S) in [0, 1], and noise (N, 2, S, S) of deviation 1 for infrared and visible."""

    infrared: Tensor
    visible: Tensor
    noise: Tensor


@dataclass(frozen=True)
class CropPlan:
    """How crops are drawn."""

    side_px: int
    zoom: tuple[float, float]
    target_share: float
    seed: int


def read_training_pairs(
    folders: Sequence[str], exclude: Sequence[str], longest_side_px: int, tells: bool = True
) -> list[TrainingPair]:
    """Reads all pairs below the folders; a broken one is named on stderr (where `tells`) and left out.

    ContractError where nothing is left, where a part of `exclude` fits no name, and where more than one pair
    in twenty is broken.
    """
    pairs = leave_out([pair for folder in folders for pair in find_dataset_pairs(Path(folder))], exclude)
    if not pairs:
        raise ContractError(f"{', '.join(folders)}: expected pairs besides those left out; exclude less")
    read: list[TrainingPair] = []
    broken: list[str] = []
    with Progress("reading", len(pairs)) as progress:
        for pair in pairs:
            try:
                infrared_hw, visible_hw = read_pair(pair)
            except ContractError as error:
                broken.append(str(error))
                continue
            read.append(_prepared(pair.name, infrared_hw, visible_hw, longest_side_px))
            progress.step(pair.name)
    if len(broken) > MOST_BROKEN * len(pairs):
        raise ContractError(
            f"{len(broken)} of {len(pairs)} pairs cannot be read, first {broken[0]}; repair or remove them"
        )
    for text in broken if tells else []:
        sys.stderr.write(f"left out ({len(broken)} of {len(pairs)}): {text}\n")
    return read


def draw_batch(pairs: Sequence[TrainingPair], plan: CropPlan, step: int, places: range) -> TeacherBatch:
    """The crops at these places of a step's batch; each depends on seed, step and its own place alone."""
    crops, noise = [], []
    for place in places:
        random = np.random.default_rng((plan.seed, step, place))
        crops.append(_draw_crop(pairs, plan, random))
        noise.append(torch.from_numpy(random.standard_normal((2, plan.side_px, plan.side_px), np.float32)))
    planes_n2hw = torch.stack(crops)
    return TeacherBatch(planes_n2hw[:, :1].contiguous(), planes_n2hw[:, 1:].contiguous(), torch.stack(noise))


def _prepared(
    name: str, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8], longest_side_px: int
) -> TrainingPair:
    infrared_hw, visible_hw = (_reduced(picture, longest_side_px) for picture in (infrared_hw, visible_hw))
    mask = find_hot_targets(torch.from_numpy(infrared_hw.astype(np.float32) / 255.0)[None, None])
    places = mask[0, 0].nonzero().numpy() if has_targets(mask)[0] else np.zeros((0, 2), np.int64)
    # Evenly spread over the list, so that a large target does not hide a small one altogether.
    kept = places[np.linspace(0, len(places) - 1, min(PLACES, len(places))).astype(int)]
    return TrainingPair(name, infrared_hw, visible_hw, kept)


def _reduced(picture_hw: NDArray[np.uint8], longest_side_px: int) -> NDArray[np.uint8]:
    scale = longest_side_px / max(picture_hw.shape)
    if scale >= 1.0:
        return picture_hw
    size = [max(MIN_SIDE_PX, round(side * scale)) for side in picture_hw.shape]
    planes = torch.from_numpy(picture_hw)[None, None].float()
    return F.interpolate(planes, size=size, mode="area")[0, 0].round().to(torch.uint8).numpy()


def _draw_crop(pairs: Sequence[TrainingPair], plan: CropPlan, random: np.random.Generator) -> Tensor:
    for _ in range(DRAWS):
        pair = pairs[int(random.integers(len(pairs)))]
        crop = _crop(pair, plan, random)
        if bool((crop.std(dim=(-1, -2)) >= LEAST_DEVIATION).any()):
            break
    return crop


def _crop(pair: TrainingPair, plan: CropPlan, random: np.random.Generator) -> Tensor:
    """(2, S, S): a window that is turned, sheared, enlarged, perhaps mirrored; reflected beyond the edge."""
    size_hw = np.array(pair.visible_hw.shape)
    window_px = plan.side_px / random.uniform(*plan.zoom)
    room = np.maximum(size_hw - window_px, 0.0)
    corner = random.uniform(0.0, room)
    if len(pair.places_p2) and random.random() < plan.target_share:
        place = pair.places_p2[int(random.integers(len(pair.places_p2)))]
        corner = np.clip(place - window_px * random.uniform(0.35, 0.65, 2), 0.0, room)
    centre = corner + np.minimum(window_px, size_hw) / 2.0
    turn, shear = np.radians(random.uniform(-1.0, 1.0, 2) * (TURN_DEGREES, SHEAR_DEGREES))
    mirror = -1.0 if random.random() < 0.5 else 1.0
    # Rows: where x and y of the picture lie, in pixels, for x and y of the crop from -1 to 1.
    pixels = (window_px / 2.0) * np.array(
        [
            [mirror * math.cos(turn), -math.sin(turn) + math.tan(shear) * math.cos(turn)],
            [mirror * math.sin(turn), math.cos(turn) + math.tan(shear) * math.sin(turn)],
        ]
    )
    half_xy = size_hw[::-1] / 2.0
    theta = np.concatenate([pixels / half_xy[:, None], (centre[::-1] / half_xy - 1.0)[:, None]], axis=1)
    grid = F.affine_grid(
        torch.from_numpy(theta).float()[None], [1, 2, plan.side_px, plan.side_px], align_corners=False
    )
    return F.grid_sample(pair.planes(), grid, padding_mode="reflection", align_corners=False)[0]
