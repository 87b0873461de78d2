"""What calibration looks at: pairs with their teacher's outputs, and the extremes of what cameras give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import make_context
from irvis_runtime.contract import CONTEXT, INFRARED, VISIBLE
from irvis_runtime.errors import ContractError
from irvis_runtime.pairs import find_dataset_pairs, leave_out, read_pair
from irvis_runtime.progress import Progress
from irvis_runtime.targets import open_targets

HOLD_OUT_EVERY = 3
MIN_PAIRS = 3
MIDDLE_HW = (256, 320)
MIDDLE_STEP_PX = 32
"""The blocks of a part lie as they do in the whole: at multiples of what the deepest layer folds."""


@dataclass(frozen=True, eq=False)
class Example:
    """A pair as the graph takes it, and what its teacher makes of it; equal to itself alone."""

    name: str
    inputs: dict[str, NDArray[np.generic]]
    """By port: uint8 (1, 1, H, W) twice, float32 (1, 2, 64, 64)."""
    target_hw: NDArray[np.float32]
    """0..255."""


def read_examples(pairs_dir: Path, teacher: Path, count: int, exclude: tuple[str, ...] = ()) -> list[Example]:
    """Reads at most `count` pairs, spread evenly over the folder, and lets the teacher fuse them.

    `exclude`: parts of pair names that are left out. ContractError for fewer than three pairs.
    """
    if count < MIN_PAIRS:
        raise ContractError(f"--count: expected {MIN_PAIRS} or more, got {count}; take more pairs")
    pairs = leave_out(find_dataset_pairs(pairs_dir), exclude)
    if len(pairs) < MIN_PAIRS:
        left_out = " after --exclude" if exclude else ""
        raise ContractError(
            f"{pairs_dir}: expected at least {MIN_PAIRS} pairs to calibrate and to judge, "
            f"got {len(pairs)}{left_out}; add pairs"
        )
    chosen = [pairs[index] for index in np.unique(np.linspace(0, len(pairs) - 1, count).round().astype(int))]
    examples = []
    with (
        open_targets(teacher) as targets,
        Progress("reading pairs, asking the teacher", len(chosen)) as progress,
    ):
        targets.check([pair.name for pair in chosen])
        for pair in chosen:
            infrared, visible = read_pair(pair)
            target = targets.target(pair.name, infrared, visible)
            inputs: dict[str, NDArray[np.generic]] = {
                INFRARED: infrared[None, None],
                VISIBLE: visible[None, None],
                CONTEXT: make_context(infrared, visible),
            }
            examples.append(Example(pair.name, inputs, target))
            progress.step()
    return examples


def split(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Those to calibrate on, and every third one to judge by."""
    calibration = [example for place, example in enumerate(examples, start=1) if place % HOLD_OUT_EVERY]
    return calibration, examples[HOLD_OUT_EVERY - 1 :: HOLD_OUT_EVERY]


def middle(example: Example, side_hw: tuple[int, int] = MIDDLE_HW) -> Example:
    """The middle of a pair, with the whole pair's context and the teacher's picture of the whole: quicker."""
    rows, columns = (
        slice(start, start + side)
        for start, side in (
            (max(full - side, 0) // 2 // MIDDLE_STEP_PX * MIDDLE_STEP_PX, side)
            for full, side in zip(example.target_hw.shape, side_hw, strict=True)
        )
    )
    pictures = {name: example.inputs[name][..., rows, columns] for name in (INFRARED, VISIBLE)}
    return Example(example.name, {**example.inputs, **pictures}, example.target_hw[rows, columns])


def extremes(side_hw: tuple[int, int] = (128, 160)) -> list[dict[str, NDArray[np.generic]]]:
    """Inputs at the edges of what cameras give: black, white, a hot spot, noise. They have no target.

    MinMax ranges hold them too; a clip may cut them. With MinMax over eight pictures alone, one picture
    outside their statistics agreed with FP32 to no more than 18 dB.
    """
    random = np.random.default_rng(0)
    black, white = np.zeros(side_hw, np.uint8), np.full(side_hw, 255, np.uint8)
    spot = np.full(side_hw, 20, np.uint8)
    spot[40:60, 50:70] = 255
    noise = random.integers(0, 256, side_hw, dtype=np.uint8)
    pictures = [
        (black, black),
        (white, white),
        (black, white),
        (white, black),
        (spot, black),
        (spot, noise),
        (noise, noise),
    ]
    return [
        {INFRARED: a[None, None], VISIBLE: b[None, None], CONTEXT: make_context(a, b)} for a, b in pictures
    ]
