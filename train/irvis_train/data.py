"""Pairs with the teacher's outputs: read and labelled once."""

from __future__ import annotations

import hashlib
import sys
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

MAX_BROKEN_SHARE = 0.01
"""More broken pictures than this are no accident of one download."""


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


def read_labelled_pairs(
    folders: Sequence[str], exclude: Sequence[str], teacher: nn.Module, longest_side_px: int, cache: Path
) -> list[LabelledPair]:
    """Reads all pairs below the folders and labels them, from the cache where it can.

    `exclude`: parts of names that are left out. Broken pictures are named, skipped and counted. ContractError
    where nothing is left, a part fits no name, or more than MAX_BROKEN_SHARE of the pairs are broken.
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
    broken: list[str] = []
    with Progress("reading and labelling", len(pairs)) as progress:
        for pair in pairs:
            try:
                infrared, visible = (_reduced(picture, longest_side_px) for picture in read_pair(pair))
            except ContractError as error:
                broken.append(str(error))
                progress.step(pair.name)
                continue
            target = _cached_target(teacher, identity, infrared, visible, cache, device)
            context = make_contexts(as_tensor(infrared), as_tensor(visible))[0]
            labelled.append(LabelledPair(pair.name, infrared, visible, target, context))
            progress.step(pair.name)
    _report_broken(broken, len(pairs))
    return labelled


def _report_broken(broken: Sequence[str], count: int) -> None:
    if len(broken) > MAX_BROKEN_SHARE * count:
        raise ContractError(
            f"{len(broken)} of {count} pairs cannot be read, more than {MAX_BROKEN_SHARE:.0%}; mend or "
            f"remove them, the first: {broken[0]}"
        )
    for message in broken:
        sys.stderr.write(f"skipped: {message}\n")
    if broken:
        sys.stderr.write(f"{len(broken)} of {count} pairs were skipped\n")


def refuse_shared_pairs(train: Sequence[LabelledPair], val: Sequence[LabelledPair]) -> None:
    """ContractError where a pair to judge by is also one to train on: its numbers would mean nothing."""
    seen = {_content(pair): pair.name for pair in train}
    for pair in val:
        if _content(pair) in seen:
            raise ContractError(
                f"{pair.name}: the same pictures are in pairs ({seen[_content(pair)]}) and in val_pairs; "
                "leave them out of one (exclude, val_exclude)"
            )


def _content(pair: LabelledPair) -> bytes:
    return hashlib.sha256(pair.infrared_hw.tobytes() + pair.visible_hw.tobytes()).digest()


def as_tensor(picture_hw: NDArray[np.uint8]) -> Tensor:
    """(H, W) uint8 -> (1, 1, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture_hw))[None, None].float() / 255.0


def make_contexts(infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
    """Context (N, 2, 64, 64) in 0..255 of pictures in [0, 1], as irvis_runtime.context.make_context."""
    pictures = torch.cat([infrared_n1hw, visible_n1hw], dim=1) * 255.0
    rows = torch.tensor(area_weights(pictures.shape[-2]), device=pictures.device)
    columns = torch.tensor(area_weights(pictures.shape[-1]), device=pictures.device)
    return rows @ pictures @ columns.T


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
