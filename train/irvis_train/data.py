"""Pairs with the teacher's outputs: read and labelled once, cut into batches that seed and step decide."""

from __future__ import annotations

import hashlib
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.atomic import replacing
from irvis_runtime.context import area_weights
from irvis_runtime.contract import MIN_SIDE_PX
from irvis_runtime.errors import ContractError
from irvis_runtime.pairs import find_dataset_pairs, leave_out, read_pair
from irvis_runtime.progress import Progress


@dataclass(frozen=True)
class LabelledPair:
    """A pair, its target and its context."""

    name: str
    infrared_hw: NDArray[np.uint8]
    visible_hw: NDArray[np.uint8]
    target_hw: NDArray[np.float16]
    """The teacher's output, in [0, 1]."""
    context_2hw: Tensor
    """Thumbnails (2, 64, 64), 0..255."""


@dataclass(frozen=True)
class Batch:
    """Crops in [0, 1], (N, 1, S, S), and contexts (N, 2, 64, 64) in 0..255."""

    infrared: Tensor
    visible: Tensor
    context: Tensor
    target: Tensor


def read_labelled_pairs(
    folders: Sequence[str], exclude: Sequence[str], teacher: nn.Module, longest_side_px: int, cache: Path
) -> list[LabelledPair]:
    """Reads all pairs below the folders and labels them, from the cache where it can.

    `exclude`: parts of names that are left out. ContractError where nothing is left, or a part
    fits no name.
    """
    pairs = leave_out([pair for folder in folders for pair in find_dataset_pairs(Path(folder))], exclude)
    if not pairs:
        raise ContractError(
            f"{', '.join(folders)}: expected pairs besides those that {', '.join(exclude)} leaves out, "
            "found none; exclude less"
        )
    device = next((parameter.device for parameter in teacher.parameters()), torch.device("cpu"))
    identity = teacher_identity(teacher).encode()
    labelled: list[LabelledPair] = []
    with Progress("reading and labelling", len(pairs)) as progress:
        for pair in pairs:
            infrared, visible = (_reduced(picture, longest_side_px) for picture in read_pair(pair))
            target = _cached_target(teacher, identity, infrared, visible, cache, device)
            context = make_contexts(as_tensor(infrared), as_tensor(visible))[0]
            labelled.append(LabelledPair(pair.name, infrared, visible, target, context))
            progress.step(pair.name)
    return labelled


def as_tensor(picture_hw: NDArray[np.uint8]) -> Tensor:
    """(H, W) uint8 -> (1, 1, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture_hw))[None, None].float() / 255.0


def make_contexts(infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
    """Context (N, 2, 64, 64) in 0..255 of pictures in [0, 1], as irvis_runtime.context.make_context."""
    pictures = torch.cat([infrared_n1hw, visible_n1hw], dim=1) * 255.0
    rows = torch.tensor(area_weights(pictures.shape[-2]), device=pictures.device)
    columns = torch.tensor(area_weights(pictures.shape[-1]), device=pictures.device)
    return rows @ pictures @ columns.T


class BatchMaker:
    """Cuts batches out of labelled pairs; a batch is a function of the seed and the step."""

    def __init__(self, pairs: Sequence[LabelledPair], teacher: nn.Module, seed: int) -> None:
        self.pairs, self.teacher, self.seed = pairs, teacher, seed

    def cached(self, step: int, count: int, side_px: int) -> Batch:
        """Crops of whole pictures: context and target are the whole picture's."""
        random = np.random.default_rng((self.seed, step))
        crops, contexts = [], []
        for _ in range(count):
            pair = self.pairs[int(random.integers(len(self.pairs)))]
            infrared, visible, target = _random_crop(
                (pair.infrared_hw, pair.visible_hw, pair.target_hw), side_px, random
            )
            crop = np.stack(
                [infrared / np.float32(255.0), visible / np.float32(255.0), target.astype(np.float32)]
            )
            axes = _random_axes(random)
            crops.append(torch.from_numpy(crop).flip(axes))
            contexts.append(pair.context_2hw.flip(axes))
        planes_n3hw = torch.stack(crops)
        return Batch(planes_n3hw[:, :1], planes_n3hw[:, 1:2], torch.stack(contexts), planes_n3hw[:, 2:])

    def fresh(self, step: int, count: int, side_px: int) -> Batch:
        """Rescaled crops with other brightness, contrast and noise, labelled now as pictures of their own."""
        random = np.random.default_rng((self.seed, step))
        crops = [self._changed_crop(random, side_px) for _ in range(count)]
        planes_n2hw = torch.round(torch.stack(crops).clamp(0.0, 1.0) * 255.0) / 255.0
        infrared, visible = planes_n2hw[:, :1].contiguous(), planes_n2hw[:, 1:].contiguous()
        device = next((parameter.device for parameter in self.teacher.parameters()), torch.device("cpu"))
        with torch.no_grad():
            target = self.teacher(infrared.to(device), visible.to(device)).cpu()
        return Batch(infrared, visible, make_contexts(infrared, visible), target)

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


def _random_crop(
    planes_hw: Sequence[NDArray[Any]], side_px: int, random: np.random.Generator
) -> tuple[NDArray[Any], ...]:
    """The same random square window of all planes; what lies beyond a small picture is its reflection."""
    height, width = planes_hw[0].shape
    top, left = random.integers(max(height - side_px, 0) + 1), random.integers(max(width - side_px, 0) + 1)
    windows = [plane[top : top + side_px, left : left + side_px] for plane in planes_hw]
    missing = [(0, max(side_px - side, 0)) for side in (height, width)]
    return tuple(
        np.pad(window, missing, mode="symmetric") if np.any(missing) else window for window in windows
    )


def _random_axes(random: np.random.Generator) -> list[int]:
    return [axis for axis in (-1, -2) if random.random() < 0.5]


def _reduced(picture_hw: NDArray[np.uint8], longest_side_px: int) -> NDArray[np.uint8]:
    scale = longest_side_px / max(picture_hw.shape)
    if scale >= 1.0:
        return picture_hw
    size = tuple(max(MIN_SIDE_PX, round(side * scale)) for side in picture_hw.shape)
    reduced = F.interpolate(as_tensor(picture_hw), size=size, mode="area")[0, 0]
    return torch.round(reduced * 255.0).to(torch.uint8).numpy()


def _cached_target(
    teacher: nn.Module,
    identity: bytes,
    infrared_hw: NDArray[np.uint8],
    visible_hw: NDArray[np.uint8],
    cache: Path,
    device: torch.device,
) -> NDArray[np.float16]:
    digest = hashlib.sha256(
        identity + repr(visible_hw.shape).encode() + infrared_hw.tobytes() + visible_hw.tobytes()
    )
    path = cache / f"{digest.hexdigest()}.npy"
    cached = _read_cached(path, visible_hw.shape)
    if cached is not None:
        return cached
    with torch.no_grad():
        fused = teacher(as_tensor(infrared_hw).to(device), as_tensor(visible_hw).to(device))
    target: NDArray[np.float16] = fused[0, 0].cpu().numpy().astype(np.float16)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, target)
    return target


def _read_cached(path: Path, size_hw: tuple[int, ...]) -> NDArray[np.float16] | None:
    """Returns the cached picture; None, for it to be made anew, where there is none or only a damaged one."""
    try:
        target = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, tokenize.TokenError):
        return None
    is_whole = isinstance(target, np.ndarray) and target.dtype == np.float16 and target.shape == size_hw
    return target if is_whole else None


def teacher_identity(teacher: nn.Module) -> str:
    """SHA-256 of the teacher's weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(teacher.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
