"""The gate: a quantized file enters the model directory only if it keeps what FP32 has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from irvis_runtime.contract import FUSED
from irvis_runtime.errors import ContractError

from .examples import Example


@dataclass(frozen=True)
class Limits:
    """What a quantized file may lose."""

    max_drop_db: float = 0.3
    """Mean PSNR to the teacher below FP32's."""
    min_mean_agreement_db: float = 45.0
    """Mean PSNR to FP32's picture."""
    min_agreement_db: float = 30.0
    """PSNR to FP32's picture, of the worst pair."""

    def __post_init__(self) -> None:
        """ContractError for NaN, which no comparison would ever exceed, and for infinity."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                option = field.name.replace("_", "-")
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

    @property
    def drop_db(self) -> float:
        """By how much it is further from the teacher than FP32."""
        return self.fp32_teacher_psnr_db - self.teacher_psnr_db

    def failures(self, limits: Limits) -> list[str]:
        """What is beyond the limits, one sentence each."""
        found = []
        if self.drop_db > limits.max_drop_db:
            found.append(
                f"PSNR to the teacher falls by {self.drop_db:.2f} dB, allowed are {limits.max_drop_db:.2f}"
            )
        if self.agreement_psnr_db < limits.min_mean_agreement_db:
            found.append(
                f"the pairs agree with FP32 by {self.agreement_psnr_db:.1f} dB in the mean, "
                f"asked for are {limits.min_mean_agreement_db:.1f}"
            )
        if self.worst_agreement_psnr_db < limits.min_agreement_db:
            found.append(
                f"the worst pair agrees with FP32 by {self.worst_agreement_psnr_db:.1f} dB, "
                f"asked for are {limits.min_agreement_db:.1f}"
            )
        return found


class Reference:
    """FP32's pictures of some examples, computed once, to measure quantized files by."""

    def __init__(self, fp32: ort.InferenceSession, examples: Sequence[Example]) -> None:
        self.examples = list(examples)
        self.full_hw = [picture(fp32, example) for example in examples]
        self._fp32_psnr_db = [
            psnr_db(full_hw - example.target_hw)
            for full_hw, example in zip(self.full_hw, self.examples, strict=True)
        ]

    def measure(self, quantized: ort.InferenceSession) -> Fidelity:
        """Compares a file's pictures with the teacher's and with FP32's."""
        teacher, agreement, max_lsb = [], [], 0
        for example, full_hw in zip(self.examples, self.full_hw, strict=True):
            fused_hw = picture(quantized, example)
            teacher.append(psnr_db(fused_hw - example.target_hw))
            agreement.append(psnr_db(fused_hw - full_hw))
            max_lsb = max(max_lsb, int(np.abs(fused_hw - full_hw).max()))
        return Fidelity(
            teacher_psnr_db=float(np.mean(teacher)),
            worst_teacher_psnr_db=min(teacher),
            fp32_teacher_psnr_db=float(np.mean(self._fp32_psnr_db)),
            agreement_psnr_db=float(np.mean(agreement)),
            worst_agreement_psnr_db=min(agreement),
            max_lsb=max_lsb,
            pairs=len(self.examples),
        )


def measure(
    fp32: ort.InferenceSession, quantized: ort.InferenceSession, held_out: Sequence[Example]
) -> Fidelity:
    """Compares both files' pictures with the teacher's and with each other."""
    return Reference(fp32, held_out).measure(quantized)


def picture(session: ort.InferenceSession, example: Example) -> NDArray[np.float32]:
    """What a file makes of an example, (H, W) in grey levels."""
    fused: NDArray[np.uint8] = session.run([FUSED], example.inputs)[0][0, 0]
    return fused.astype(np.float32)


def psnr_db(difference: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """PSNR in dB of a difference in grey levels; 100 dB at most, for equal pictures."""
    error = float(np.square(difference, dtype=np.float64).mean())
    return 100.0 if error < 255.0**2 * 1e-10 else float(10.0 * np.log10(255.0**2 / error))
