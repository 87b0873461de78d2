"""Batches that seed and step alone decide: crops, changed crops, degraded ones, neighbouring frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .data import LabelledPair, make_contexts
from .degrade import degrade_pair

PHASE_PX = 8
"""Where a crop may begin that keeps its picture's target. The teacher has strides: what is mirrored it fuses
otherwise (27 to 29 dB to the mirrored result), as what is moved by less than this (26 dB; by 8 px, and away
from the border, 52 dB). A target that was mirrored, or cut at any pixel, is one that nothing can reach."""
REPEAT_NOISE = 0.02
"""Standard deviation of the noise that differs between a picture and its repeat; grey level 5."""
STILL = 6.0 / 255.0
"""Between two frames, what changes by less than this in both pictures counts as still."""


@dataclass(frozen=True)
class Batch:
    """Crops in [0, 1], (N, 1, S, S), and contexts (N, 2, 64, 64) in 0..255."""

    infrared: Tensor
    visible: Tensor
    context: Tensor
    target: Tensor
    repeat: Repeat | None = None
    """Set where the second half of the batch shows the scenes of the first half again."""


@dataclass(frozen=True)
class Repeat:
    """How the second half of a batch lies to its first half."""

    shift_px: tuple[int, int]
    """Rows and columns by which the second half's window lies further down and right."""
    still: Tensor | None = None
    """Where the scene stood still, (N/2, 1, S, S) of 0 and 1; everywhere without it."""

    def flicker(self, fused_n1hw: Tensor) -> Tensor:
        """Mean absolute difference of the two halves where they show the same."""
        first, second = fused_n1hw.chunk(2)
        down, right = self.shift_px
        height, width = first.shape[-2:]
        difference = (first[..., down:, right:] - second[..., : height - down, : width - right]).abs()
        return (difference if self.still is None else difference * self.still).mean()


class BatchMaker:
    """Cuts batches out of labelled pairs; a batch is a function of the seed and the step."""

    def __init__(
        self, pairs: Sequence[LabelledPair], teacher: nn.Module, seed: int, clips: Sequence[str] = ()
    ) -> None:
        """`clips`: parts of the names of pairs that are consecutive frames. ContractError where none fits."""
        self.pairs, self.teacher, self.seed = pairs, teacher, seed
        self.clip_starts = clip_starts(pairs, clips)

    def cached(self, step: int, count: int, side_px: int) -> Batch:
        """Crops of whole pictures: context and target are the whole picture's."""
        random = np.random.default_rng((self.seed, step))
        crops, contexts = [], []
        for _ in range(count):
            pair = self.pairs[int(random.integers(len(self.pairs)))]
            infrared, visible, target = _random_crop(
                (pair.infrared_hw, pair.visible_hw, pair.target_hw), side_px, random, PHASE_PX
            )
            crop = np.stack(
                [infrared / np.float32(255.0), visible / np.float32(255.0), target.astype(np.float32)]
            )
            crops.append(torch.from_numpy(crop))
            contexts.append(pair.context_2hw)
        planes_n3hw = torch.stack(crops)
        return Batch(planes_n3hw[:, :1], planes_n3hw[:, 1:2], torch.stack(contexts), planes_n3hw[:, 2:])

    def whole(self, step: int, multiple_px: int) -> Batch:
        """One whole picture, less what is left over of `multiple_px` at the bottom and at the right.

        A crop misses what the teacher saw around it: to 70 px from its border its target cannot be reached.
        """
        random = np.random.default_rng((self.seed, step))
        pair = self.pairs[int(random.integers(len(self.pairs)))]
        if min(pair.visible_hw.shape) < multiple_px:
            return self.cached(step, 1, multiple_px)
        rows, columns = (side // multiple_px * multiple_px for side in pair.visible_hw.shape)
        infrared, visible, target = (
            torch.from_numpy(plane[:rows, :columns].astype(np.float32) / np.float32(scale))[None, None]
            for plane, scale in ((pair.infrared_hw, 255), (pair.visible_hw, 255), (pair.target_hw, 1))
        )
        return Batch(infrared, visible, pair.context_2hw[None], target)

    def fresh(self, step: int, count: int, side_px: int) -> Batch:
        """Rescaled crops with other brightness, contrast and noise, labelled now as pictures of their own."""
        random = np.random.default_rng((self.seed, step))
        crops = [self._changed_crop(random, side_px) for _ in range(count)]
        planes_n2hw = torch.round(torch.stack(crops).clamp(0.0, 1.0) * 255.0) / 255.0
        infrared, visible = planes_n2hw[:, :1].contiguous(), planes_n2hw[:, 1:].contiguous()
        return Batch(infrared, visible, make_contexts(infrared, visible), self._label(infrared, visible))

    def degraded(self, step: int, count: int, side_px: int, max_severity: float) -> Batch:
        """Degraded crops, their target the teacher's clean output; each twice, shifted, with other noise."""
        random = np.random.default_rng((self.seed, step))
        large_px = side_px + PHASE_PX
        crops = [self._changed_crop(random, large_px) for _ in range(count // 2)]
        clean = torch.round(torch.stack(crops).clamp(0.0, 1.0) * 255.0) / 255.0
        target = self._label(clean[:, :1].contiguous(), clean[:, 1:].contiguous())
        infrared, visible, _ = degrade_pair(
            clean[:, :1].contiguous(), clean[:, 1:].contiguous(), random, max_severity
        )
        context = make_contexts(infrared, visible)
        down, right = (PHASE_PX * int(shift) for shift in random.integers(2, size=2))

        def twice(planes: Tensor, deviation: float) -> Tensor:
            windows = torch.cat(
                [
                    planes[..., :side_px, :side_px],
                    planes[..., down : down + side_px, right : right + side_px],
                ]
            )
            if not deviation:
                return windows
            noise = torch.from_numpy(random.standard_normal(tuple(windows.shape), dtype=np.float32))
            return torch.round((windows + deviation * noise).clamp(0.0, 1.0) * 255.0) / 255.0

        return Batch(
            twice(infrared, REPEAT_NOISE),
            twice(visible, REPEAT_NOISE),
            torch.cat([context, context]),
            twice(target, 0.0),
            Repeat((down, right)),
        )

    def neighbours(self, step: int, count: int, side_px: int) -> Batch:
        """Crops of two consecutive frames of clips, with one smoothed context, as the runtime gives."""
        random = np.random.default_rng((self.seed, step))
        frames: list[tuple[Tensor, ...]] = []
        for _ in range(count // 2):
            first = self.clip_starts[int(random.integers(len(self.clip_starts)))]
            pair, after = self.pairs[first], self.pairs[first + 1]
            planes = [
                picture.astype(np.float32) / np.float32(scale)
                for p in (pair, after)
                for picture, scale in ((p.infrared_hw, 255), (p.visible_hw, 255), (p.target_hw, 1))
            ]
            crop = torch.from_numpy(np.stack(_random_crop(planes, side_px, random, PHASE_PX)))
            frames.append((crop, 0.5 * (pair.context_2hw + after.context_2hw)))
        now_and_after = torch.stack([crop for crop, _ in frames])
        planes_n3hw = torch.cat([now_and_after[:, :3], now_and_after[:, 3:]])
        moved = (now_and_after[:, :2] - now_and_after[:, 3:5]).abs().amax(dim=1, keepdim=True)
        contexts = torch.stack([context for _, context in frames])
        return Batch(
            planes_n3hw[:, :1],
            planes_n3hw[:, 1:2],
            torch.cat([contexts, contexts]),
            planes_n3hw[:, 2:],
            Repeat((0, 0), (moved < STILL).float()),
        )

    def _label(self, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
        device = next((parameter.device for parameter in self.teacher.parameters()), torch.device("cpu"))
        with torch.no_grad():
            target: Tensor = self.teacher(infrared_n1hw.to(device), visible_n1hw.to(device))
        return target.cpu()

    def _changed_crop(self, random: np.random.Generator, side_px: int) -> Tensor:
        pair = self.pairs[int(random.integers(len(self.pairs)))]
        height, width = pair.visible_hw.shape
        window = int(np.clip(side_px * random.uniform(0.7, 2.2), 32, min(height, width)))
        crop = np.stack(_random_crop((pair.infrared_hw, pair.visible_hw), window, random))
        planes = torch.from_numpy(crop).float()[None] / 255.0
        mode = "area" if window > side_px else "bilinear"
        planes = F.interpolate(planes, size=(side_px, side_px), mode=mode)[0]
        for plane in planes:
            gamma, gain, lift = random.uniform(0.6, 1.6), random.uniform(0.5, 1.2), random.uniform(-0.1, 0.15)
            plane.copy_(gain * plane.clamp(0.0, 1.0) ** gamma + lift)
            if random.random() < 0.3:
                noise = random.standard_normal(plane.shape, dtype=np.float32) * random.uniform(0.0, 0.04)
                plane += torch.from_numpy(noise)
        return planes.flip(_random_axes(random))


def clip_starts(pairs: Sequence[LabelledPair], clips: Sequence[str]) -> list[int]:
    """Indices of pairs whose next one is the next frame of the same clip: same folder, same size."""
    starts = [
        index
        for index, (pair, after) in enumerate(pairwise(pairs))
        if any(part in pair.name for part in clips)
        and pair.name.rpartition("/")[0] == after.name.rpartition("/")[0]
        and pair.visible_hw.shape == after.visible_hw.shape
    ]
    if clips and not starts:
        raise ContractError(
            f"clips: expected consecutive frames among pairs named like {', '.join(clips)}, found none"
        )
    return starts


def _random_crop(
    planes_hw: Sequence[NDArray[Any]], side_px: int, random: np.random.Generator, step_px: int = 1
) -> tuple[NDArray[Any], ...]:
    """The same random square window of all planes, its corner at a multiple of `step_px`.

    What lies beyond a small picture is its reflection.
    """
    height, width = planes_hw[0].shape
    places = [max(side - side_px, 0) // step_px + 1 for side in (height, width)]
    top, left = (step_px * int(random.integers(count)) for count in places)
    windows = [plane[top : top + side_px, left : left + side_px] for plane in planes_hw]
    missing = [(0, max(side_px - side, 0)) for side in (height, width)]
    return tuple(
        np.pad(window, missing, mode="symmetric") if np.any(missing) else window for window in windows
    )


def _random_axes(random: np.random.Generator) -> list[int]:
    return [axis for axis in (-1, -2) if random.random() < 0.5]
