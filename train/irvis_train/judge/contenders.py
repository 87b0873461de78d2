"""What is judged: models as the runtime flies them, and the published student beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from irvis_runtime.atomic import replacing
from irvis_runtime.context import ContextSmoother, make_context
from irvis_runtime.errors import ContractError
from irvis_runtime.fuser import Fuser
from irvis_runtime.targets import Engine, engine_of
from irvis_train.data import as_tensor, teacher_identity

Picture = NDArray[np.uint8]
Context = NDArray[np.float32]
Frame = tuple[Picture, Picture]
"""Infrared and visible, (H, W) each."""
Fuse = Callable[[Picture, Picture, "Context | None"], Picture]
"""Infrared, visible and a context (None: the pictures' own) -> fused (H, W)."""

PUBLISHED = "published student"
PUBLISHED_MULTIPLE = 8
"""The published student works at an eighth of the resolution."""
FRAMES_PER_S = 30.0


@dataclass(frozen=True)
class Contender:
    """One that fuses."""

    name: str
    fuse: Fuse
    model_dir: Path | None = None
    """None for the published student."""
    engine: Engine | None = None
    """What runs the model."""
    multiple: int = PUBLISHED_MULTIPLE
    """Tiles begin at multiples of this, px."""


@contextmanager
def open_contenders(
    model_dirs: Sequence[Path], precisions: Sequence[str], published: PublishedStudent, threads: int | None
) -> Iterator[list[Contender]]:
    """Opens every model in every precision; the published student comes first.

    A contender is called by its model's name, and by its precision where there are several.
    """
    with ExitStack() as stack:
        contenders = [Contender(PUBLISHED, published.fuse)]
        for model_dir in model_dirs:
            for precision in precisions:
                fuser = stack.enter_context(Fuser(model_dir, precision, threads=threads))
                name = fuser.manifest.name + (f" {fuser.precision}" if len(precisions) > 1 else "")
                multiple = fuser.manifest.multiple
                contenders.append(Contender(name, fuser.fuse, model_dir, engine_of(fuser), multiple))
        names = [contender.name for contender in contenders]
        if len(set(names)) < len(names):
            raise ContractError(
                f"expected models of different names, got {', '.join(names[1:])}; judge them one by one"
            )
        yield contenders


class PublishedStudent:
    """The published checkpoint, which knows no context; what it gave is kept in a folder."""

    def __init__(self, teacher: nn.Module, cache: Path) -> None:
        self.teacher, self.cache = teacher, cache
        self._identity = teacher_identity(teacher).encode()

    def fuse(self, infrared_hw: Picture, visible_hw: Picture, context: Context | None = None) -> Picture:
        """Returns the fused luma as a picture file would hold it: rounded to 8 bits."""
        pictures = repr(visible_hw.shape).encode() + infrared_hw.tobytes() + visible_hw.tobytes()
        path = self.cache / f"{hashlib.sha256(self._identity + pictures).hexdigest()}.8bit.npy"
        cached = _read_cached(path, visible_hw.shape)
        if cached is not None:
            return cached
        with torch.no_grad():
            fused = self.teacher(as_tensor(infrared_hw), as_tensor(visible_hw))[0, 0]
        fused_hw: Picture = torch.round(fused.clamp(0.0, 1.0) * 255.0).to(torch.uint8).cpu().numpy()
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, fused_hw)
        return fused_hw


def make_smoother(context_s: float | None) -> ContextSmoother:
    """The runtime's smoothing of the context; None: with the runtime's own time constant."""
    return ContextSmoother() if context_s is None else ContextSmoother(context_s)


def fuse_live(contender: Contender, frames: Iterable[Frame], context_s: float | None) -> Iterator[Picture]:
    """Fuses a video as the runtime does live: at 30 frames a second, its context smoothed over time."""
    smoother = make_smoother(context_s)
    for infrared_hw, visible_hw in frames:
        context = smoother.update(make_context(infrared_hw, visible_hw), 1.0 / FRAMES_PER_S)
        yield contender.fuse(infrared_hw, visible_hw, context)


def _read_cached(path: Path, size_hw: tuple[int, ...]) -> Picture | None:
    """The kept picture; None where there is none or only a damaged one."""
    try:
        fused_hw = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    is_whole = isinstance(fused_hw, np.ndarray) and fused_hw.dtype == np.uint8 and fused_hw.shape == size_hw
    return fused_hw if is_whole else None
