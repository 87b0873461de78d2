"""The gate: a quantized file enters the model directory only if it keeps what FP32 has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from irvis_runtime.contract import FUSED
from irvis_runtime.errors import ContractError

from .examples import Example


@dataclass(frozen=True)
class Limits:
    """What a quantized file may lose."""

    max_drop_db: float = 0.3
    """Mean PSNR to the teacher below FP32's."""
    min_agreement_db: float = 30.0
    """PSNR to FP32's picture, of the worst pair."""

    def __post_init__(self) -> None:
        """ContractError for NaN, which no comparison would ever exceed, and for infinity."""
        for option, value in (("max-drop-db", self.max_drop_db), ("min-agreement-db", self.min_agreement_db)):
            if not math.isfinite(value):
                raise ContractError(f"--{option}: expected a number of dB, got {value}; correct it")


@dataclass(frozen=True)
class Fidelity:
    """What the held-out pairs showed; PSNR in dB, differences in grey levels."""

    teacher_psnr_db: float
    worst_teacher_psnr_db: float
    fp32_teacher_psnr_db: float
    agreement_psnr_db: float
    worst_agreement_psnr_db: float
    max_lsb: int
    pairs: int

    def failures(self, limits: Limits) -> list[str]:
        """What is beyond the limits, one sentence each."""
        found = []
        drop = self.fp32_teacher_psnr_db - self.teacher_psnr_db
        if drop > limits.max_drop_db:
            found.append(f"PSNR to the teacher falls by {drop:.2f} dB, allowed are {limits.max_drop_db:.2f}")
        if self.worst_agreement_psnr_db < limits.min_agreement_db:
            found.append(
                f"the worst pair agrees with FP32 by {self.worst_agreement_psnr_db:.1f} dB, "
                f"asked for are {limits.min_agreement_db:.1f}"
            )
        return found


def measure(
    fp32: ort.InferenceSession, quantized: ort.InferenceSession, held_out: Sequence[Example]
) -> Fidelity:
    """Compares both files' pictures with the teacher's and with each other."""
    teacher, teacher_fp32, agreement, max_lsb = [], [], [], 0
    for example in held_out:
        full = fp32.run([FUSED], example.inputs)[0][0, 0].astype(np.float32)
        fused = quantized.run([FUSED], example.inputs)[0][0, 0].astype(np.float32)
        teacher.append(psnr_db(fused - example.target_hw))
        teacher_fp32.append(psnr_db(full - example.target_hw))
        agreement.append(psnr_db(fused - full))
        max_lsb = max(max_lsb, int(np.abs(fused - full).max()))
    return Fidelity(
        teacher_psnr_db=float(np.mean(teacher)),
        worst_teacher_psnr_db=min(teacher),
        fp32_teacher_psnr_db=float(np.mean(teacher_fp32)),
        agreement_psnr_db=float(np.mean(agreement)),
        worst_agreement_psnr_db=min(agreement),
        max_lsb=max_lsb,
        pairs=len(held_out),
    )


def psnr_db(difference: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """PSNR in dB of a difference in grey levels; 100 dB at most, for equal pictures."""
    error = float(np.square(difference, dtype=np.float64).mean())
    return 100.0 if error < 255.0**2 * 1e-10 else float(10.0 * np.log10(255.0**2 / error))
