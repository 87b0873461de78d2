"""Pairs as a run holds them, from two pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irvis_train.batches import Batch
from irvis_train.data import LabelledPair, as_tensor, make_contexts, read_labelled_pairs
from irvis_train.ldfusion import LdFusion


def labelled(
    infrared_hw: NDArray[np.uint8],
    visible_hw: NDArray[np.uint8],
    name: str = "pair",
    target_hw: NDArray[np.uint8] | None = None,
) -> LabelledPair:
    """A pair with its own thumbnails; its target is its infrared picture where none is given."""
    target = infrared_hw if target_hw is None else target_hw
    context = make_contexts(as_tensor(infrared_hw), as_tensor(visible_hw))[0]
    return LabelledPair(name, infrared_hw, visible_hw, (target / 255.0).astype(np.float16), context)


def read(folder: Path, teacher: LdFusion) -> list[LabelledPair]:
    """The pairs in a folder, labelled by the teacher."""
    return read_labelled_pairs([str(folder)], [], teacher, 800, folder / "cache")


def planes(batch: Batch) -> list[Tensor]:
    """All that a step of training takes from a batch."""
    return [batch.infrared, batch.visible, batch.context, batch.target]


def same(a: Batch, b: Batch) -> bool:
    """To the bit."""
    return all(torch.equal(x, y) for x, y in zip(planes(a), planes(b), strict=True))
