"""Parity: the exported file against torch, at sizes that break naive exports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from irvis_runtime.backends.onnxruntime import OnnxRuntimeSession
from irvis_runtime.context import make_context
from irvis_runtime.contract import CONTEXT, FUSED, INFRARED, VISIBLE
from irvis_train.student import Student

from .deployed import DeployedStudent

SIZES_HW = ((480, 640), (16, 16), (17, 31), (97, 161), (240, 100))
MAX_DIFFERENCE_LSB = 1
TEACHER_SIZES_HW = ((96, 128), (67, 85))
MAX_TEACHER_DIFFERENCE = 1e-3
"""Of outputs in [0, 1]: its norms sum over whole pictures, in another order than torch."""


@dataclass(frozen=True)
class Parity:
    """What one size showed."""

    height: int
    width: int
    max_lsb: int
    differing_share: float


def compare(student: Student, model: Path, sizes_hw: tuple[tuple[int, int], ...] = SIZES_HW) -> list[Parity]:
    """Runs torch and ONNX Runtime on the same pictures of every size; differences in grey levels."""
    deployed = DeployedStudent(student)
    results = []
    with OnnxRuntimeSession(model) as session:
        for height, width in sizes_hw:
            infrared, visible = example_pictures(height, width)
            inputs: dict[str, NDArray[np.generic]] = {
                INFRARED: infrared[None, None],
                VISIBLE: visible[None, None],
                CONTEXT: make_context(infrared, visible),
            }
            with torch.no_grad():
                expected = deployed(
                    *(torch.from_numpy(inputs[name]) for name in (INFRARED, VISIBLE, CONTEXT))
                ).numpy()
            difference = np.abs(session.infer(inputs)[FUSED].astype(np.int16) - expected.astype(np.int16))
            results.append(Parity(height, width, int(difference.max()), float((difference > 0).mean())))
    return results


def compare_teacher(
    teacher: nn.Module, model: Path, sizes_hw: tuple[tuple[int, int], ...] = TEACHER_SIZES_HW
) -> float:
    """Returns the largest difference between a teacher in torch and its file, outputs in [0, 1]."""
    largest = 0.0
    with OnnxRuntimeSession(model) as session:
        for height, width in sizes_hw:
            pictures = [p[None, None].astype(np.float32) / 255.0 for p in example_pictures(height, width)]
            with torch.no_grad():
                expected = teacher(*(torch.from_numpy(picture) for picture in pictures)).numpy()
            fused = session.infer(dict(zip((INFRARED, VISIBLE), pictures, strict=True)))[FUSED]
            # A NaN must not pass: it is larger than nothing.
            largest = float(np.fmax(largest, np.nan_to_num(np.abs(fused - expected), nan=np.inf).max()))
    return largest


def example_pictures(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A pair of ramps, waves and noise that uses all grey levels, the same at every call."""
    random = np.random.default_rng(height * 10007 + width)
    rows, columns = np.mgrid[0:height, 0:width]
    ramp = 255.0 * (rows + columns) / (height + width)
    waves = 127.5 + 90.0 * np.sin(rows / 5.0) * np.cos(columns / 9.0)
    noise = random.normal(0.0, 12.0, (2, height, width))
    infrared, visible = (
        np.clip(np.rint(base + n), 0, 255).astype(np.uint8)
        for base, n in zip((ramp, waves), noise, strict=True)
    )
    return infrared, visible
