"""Batches that seed and step alone decide: crops, changed crops, degraded ones, neighbouring frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .data import LabelledPair, make_contexts
from .degrade import degrade_pair, normal_like
from .pair_tensors import PairTensors

PHASE_PX = 8
"""Where a crop may begin that keeps its picture's target. The teacher has strides: what is mirrored it fuses
otherwise (27 to 29 dB to the mirrored result), as what is moved by less than this (26 dB; by 8 px, and away
from the border, 52 dB). A target that was mirrored, or cut at any pixel, is one that nothing can reach."""
REPEAT_NOISE = 0.02
"""Standard deviation of the noise that differs between a picture and its repeat; grey level 5."""
PATCH_PX = (30, 120)
"""Sides of the rectangle that appears in a picture's repeat."""
FAR_PX = 64
"""From it, on either axis: there the picture is to stay what it was."""
STILL = 6.0 / 255.0
"""Between two frames, what changes by less than this in both pictures counts as still."""


@dataclass(frozen=True)
class Batch:
    """Crops in [0, 1], (N, 1, S, S), and contexts (N, 2, 64, 64) in 0..255."""

    infrared: Tensor
    visible: Tensor
    context: Tensor
    target: Tensor
    """Of the first pictures of the batch; what follows is held to its repeat alone."""
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
    """Cuts batches out of labelled pairs; on one kind of device seed and step alone decide a batch."""

    def __init__(
        self,
        pairs: Sequence[LabelledPair],
        teacher: nn.Module,
        seed: int,
        clips: Sequence[str] = (),
        device: torch.device | None = None,
    ) -> None:
        """`clips`: parts of the names of pairs that are consecutive frames. ContractError where none fits."""
        self.pairs, self.teacher, self.seed = pairs, teacher, seed
        self.device = device or torch.device("cpu")
        self.clip_starts = clip_starts(pairs, clips)
        self._tensors = PairTensors(pairs, self.device)

    def cached(self, step: int, count: int, side_px: int) -> Batch:
        """Crops of whole pictures: context and target are the whole picture's."""
        random = np.random.default_rng((self.seed, step))
        chosen = [int(index) for index in random.integers(len(self.pairs), size=count)]
        windows = [self._tensors.random_window(index, side_px, random, PHASE_PX) for index in chosen]
        return _labelled(torch.stack(windows), self._tensors.contexts[chosen])

    def whole(self, step: int, count: int, multiple_px: int) -> Batch:
        """Whole pictures of one size, less what is left over of `multiple_px` at the bottom and at the right.

        As many as there are of that size, `count` at most. A crop misses what the teacher saw around it: to
        70 px from its border its target cannot be reached.
        """
        random = np.random.default_rng((self.seed, step))
        alike = self._of_one_size(int(random.integers(len(self.pairs))), multiple_px)
        if not alike:
            return self.cached(step, count, multiple_px)
        chosen = [int(index) for index in random.permutation(alike)[:count]]
        size_hw = _whole_size(self._tensors.size_hw(chosen[0]), multiple_px)
        windows = [self._tensors.window(index, 0, 0, size_hw) for index in chosen]
        return _labelled(torch.stack(windows), self._tensors.contexts[chosen])

    def fresh(self, step: int, count: int, side_px: int) -> Batch:
        """Rescaled crops with other brightness, contrast and noise, labelled now as pictures of their own."""
        random = np.random.default_rng((self.seed, step))
        clean = self._changed_crops(random, count, side_px)
        infrared, visible = clean[:, :1].contiguous(), clean[:, 1:].contiguous()
        return Batch(infrared, visible, make_contexts(infrared, visible), self._label(infrared, visible))

    def degraded(self, step: int, count: int, side_px: int, max_severity: float) -> Batch:
        """Degraded crops, their target the teacher's clean output; each twice, shifted, with other noise."""
        random = np.random.default_rng((self.seed, step))
        clean = self._changed_crops(random, count // 2, side_px + PHASE_PX)
        clean_infrared, clean_visible = clean[:, :1].contiguous(), clean[:, 1:].contiguous()
        target = self._label(clean_infrared, clean_visible)
        infrared, visible, _ = degrade_pair(clean_infrared, clean_visible, random, max_severity)
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
            return _as_levels(windows + deviation * normal_like(windows, random))

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
        windows, contexts = [], []
        for _ in range(count // 2):
            first = self.clip_starts[int(random.integers(len(self.clip_starts)))]
            # Of both frames the same window: each takes its corner from a generator in the same state.
            state = int(random.integers(2**62))
            windows.append(
                [
                    self._tensors.random_window(index, side_px, np.random.default_rng(state), PHASE_PX)
                    for index in (first, first + 1)
                ]
            )
            contexts.append(0.5 * (self._tensors.contexts[first] + self._tensors.contexts[first + 1]))
        now, after = (torch.stack(frames) for frames in zip(*windows, strict=True))
        moved = (now[:, :2] - after[:, :2]).abs().amax(dim=1, keepdim=True)
        batch = _labelled(torch.cat([now, after]), torch.stack(contexts + contexts))
        return replace(batch, repeat=Repeat((0, 0), (moved < STILL).float()))

    def patched(self, step: int, count: int, multiple_px: int) -> Batch:
        """Whole pictures, and again with a rectangle in them that the context does not know of yet.

        The runtime smooths the context: what appears is at first seen by the layers alone.
        """
        random = np.random.default_rng((self.seed, step))
        whole = self.whole(step, max(1, count // 2), multiple_px)
        height, width = whole.visible.shape[-2:]
        sides = [min(int(random.integers(*PATCH_PX)), side) for side in (height, width)]
        top, left = (
            int(random.integers(side - part + 1)) for side, part in zip((height, width), sides, strict=True)
        )
        planes = [whole.infrared.clone(), whole.visible.clone()]
        first, last = ((0, 1), (1, 2), (0, 2))[int(random.integers(3))]
        level = float(random.choice([0.0, 0.75, 1.0], p=[0.2, 0.2, 0.6]))
        for plane in planes[first:last]:
            plane[..., top : top + sides[0], left : left + sides[1]] = level
        far = torch.ones_like(whole.visible)
        far[
            ...,
            max(top - FAR_PX, 0) : top + sides[0] + FAR_PX,
            max(left - FAR_PX, 0) : left + sides[1] + FAR_PX,
        ] = 0.0
        return Batch(
            torch.cat([whole.infrared, planes[0]]),
            torch.cat([whole.visible, planes[1]]),
            torch.cat([whole.context, whole.context]),
            whole.target,
            Repeat((0, 0), far),
        )

    def _of_one_size(self, index: int, multiple_px: int) -> list[int]:
        """All pairs whose whole size is that of pair `index`; none where it is smaller than one multiple."""
        size_hw = _whole_size(self._tensors.size_hw(index), multiple_px)
        if not all(size_hw):
            return []
        sizes = (_whole_size(self._tensors.size_hw(other), multiple_px) for other in range(len(self.pairs)))
        return [other for other, found in enumerate(sizes) if found == size_hw]

    def _label(self, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
        with torch.no_grad():
            target: Tensor = self.teacher(infrared_n1hw, visible_n1hw)
        return target

    def _changed_crops(self, random: np.random.Generator, count: int, side_px: int) -> Tensor:
        """Infrared and visible (N, 2, S, S), whole grey levels in [0, 1]."""
        return _as_levels(torch.stack([self._changed_crop(random, side_px) for _ in range(count)]))

    def _changed_crop(self, random: np.random.Generator, side_px: int) -> Tensor:
        index = int(random.integers(len(self.pairs)))
        largest_px = min(self._tensors.size_hw(index))
        window_px = int(np.clip(side_px * random.uniform(0.7, 2.2), 32, largest_px))
        crop = self._tensors.random_window(index, window_px, random)[None, :2]
        mode = "area" if window_px > side_px else "bilinear"
        planes = F.interpolate(crop, size=(side_px, side_px), mode=mode)[0]
        for plane in planes:
            gamma, gain, lift = random.uniform(0.6, 1.6), random.uniform(0.5, 1.2), random.uniform(-0.1, 0.15)
            plane.copy_(gain * plane.clamp(0.0, 1.0) ** gamma + lift)
            if random.random() < 0.3:
                plane += float(random.uniform(0.0, 0.04)) * normal_like(plane, random)
        return planes.flip(_random_axes(random))


def _labelled(windows_n3hw: Tensor, contexts: Tensor) -> Batch:
    return Batch(windows_n3hw[:, :1], windows_n3hw[:, 1:2], contexts, windows_n3hw[:, 2:])


def _as_levels(planes: Tensor) -> Tensor:
    """Whole grey levels, as a camera gives them, in [0, 1]."""
    return torch.round(planes.clamp(0.0, 1.0) * 255.0) / 255.0


def _whole_size(size_hw: tuple[int, int], multiple_px: int) -> tuple[int, int]:
    height, width = (side // multiple_px * multiple_px for side in size_hw)
    return height, width


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


def _random_axes(random: np.random.Generator) -> list[int]:
    return [axis for axis in (-1, -2) if random.random() < 0.5]
