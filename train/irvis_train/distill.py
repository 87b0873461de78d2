"""Distils a student: its task for the loop, its validation, and the model directory at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.config import to_mapping
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.metrics import evaluate

from .config import DistillConfig
from .data import Batch, BatchMaker, LabelledPair, as_tensor, read_labelled_pairs, teacher_identity
from .fit import Schedule, fit
from .losses import distillation_loss, psnr_db
from .model_dir import write_model_dir
from .student import MULTIPLE_PX, Student
from .teacher import load_teacher

FP32_TAIL = 0.9
"""From this share of a run on, convolutions are FP32: bfloat16's rounding costs the last tenths of a dB."""
SAMPLES = 4
MAY_DIFFER = {
    *("teacher", "pairs", "val_pairs", "val_exclude", "output", "cache", "name"),
    *("threads", "device", "validate_every", "checkpoint_every"),
}
"""What a resumed run may be told anew: the same pictures and teacher may lie elsewhere."""


def distil(config: DistillConfig) -> Path:
    """Trains a student as configured and returns its model directory, `<output>/<name>`."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = _open_device(config.device)
    run_dir = Path(config.output)
    run_dir.mkdir(parents=True, exist_ok=True)
    teacher = load_teacher(config.teacher).to(device)
    cache = Path(config.cache)
    train_pairs = read_labelled_pairs(config.pairs, config.exclude, teacher, config.longest_side_px, cache)
    val_pairs = read_labelled_pairs(
        config.val_pairs, config.val_exclude, teacher, config.longest_side_px, cache
    )
    torch.manual_seed(config.seed)
    student = Student(config.student).to(device).to(memory_format=torch.channels_last)
    task = Distillation(
        student, BatchMaker(train_pairs, teacher, config.seed), val_pairs, config, run_dir / "samples"
    )
    schedule = Schedule(
        config.steps,
        config.warmup_steps,
        config.learning_rate,
        config.checkpoint_every,
        config.validate_every,
    )
    result = fit(task, schedule, run_dir)
    return write_model_dir(
        run_dir / config.name, student.cpu(), config, [pair.name for pair in train_pairs], result
    )


class Distillation:
    """The task of imitating the teacher's output; see fit.Task."""

    def __init__(
        self,
        student: Student,
        batches: BatchMaker,
        val_pairs: Sequence[LabelledPair],
        config: DistillConfig,
        samples: Path,
    ) -> None:
        self.module: nn.Module = student
        self.student = student
        self.batches = batches
        self.val_pairs = val_pairs
        self.config = config
        self.samples = samples
        self.device = next(student.parameters()).device
        self.identity: Mapping[str, Any] = {
            **{key: value for key, value in to_mapping(config).items() if key not in MAY_DIFFER},
            "pairs": [pair.name for pair in batches.pairs],
            "teacher": teacher_identity(batches.teacher),
        }

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss of the batch that this step has."""
        batch = self._batch(step)
        lower = self.config.precision == "bf16" and step < FP32_TAIL * self.config.steps
        infrared, visible, context, target = (
            plane.to(self.device) for plane in (batch.infrared, batch.visible, batch.context, batch.target)
        )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lower):
            fused = self.student(infrared * 255.0, visible * 255.0, context)
        return distillation_loss(
            fused.float() / 255.0, target, self.config.gradient_weight, self.config.ssim_weight
        )

    def _batch(self, step: int) -> Batch:
        config = self.config
        late = step >= config.late_from * config.steps
        count, side_px = (config.late_batch, config.late_crop_px) if late else (config.batch, config.crop_px)
        if config.fresh_every and step % config.fresh_every == config.fresh_every - 1:
            return self.batches.fresh(step, count, side_px)
        return self.batches.cached(step, count, side_px)

    def validate(self, step: int) -> Mapping[str, float]:
        """PSNR (mean and worst) and SSIM to the teacher over the validation pairs; writes sample pictures."""
        self.student.eval()
        psnr, ssim = [], []
        for index, pair in enumerate(self.val_pairs):
            fused_hw = self._fuse(pair)
            target = torch.from_numpy(pair.target_hw).float()
            target_hw = torch.round(target * 255.0).to(torch.uint8).numpy()
            psnr.append(psnr_db(as_tensor(fused_hw), target[None, None]))
            # `evaluate` sums SSIM over its two sources; here both are the teacher's picture.
            ssim.append(evaluate(fused_hw, target_hw, target_hw, names=["SSIM"])["SSIM"] / 2.0)
            if index % max(1, len(self.val_pairs) // SAMPLES) == 0:
                columns = [pair.infrared_hw, pair.visible_hw, target_hw, fused_hw]
                write_picture(self.samples / f"{step:06d}-{index:02d}.jpg", np.concatenate(columns, axis=1))
        self.student.train()
        return {"psnr_db": float(np.mean(psnr)), "worst_psnr_db": min(psnr), "ssim": float(np.mean(ssim))}

    def _fuse(self, pair: LabelledPair) -> NDArray[np.uint8]:
        height, width = pair.visible_hw.shape
        padding = (0, -width % MULTIPLE_PX, 0, -height % MULTIPLE_PX)
        infrared, visible = (
            F.pad(as_tensor(picture), padding, mode="replicate").to(self.device) * 255.0
            for picture in (pair.infrared_hw, pair.visible_hw)
        )
        with torch.no_grad():
            fused = self.student(infrared, visible, pair.context_2hw[None].to(self.device))
        picture: NDArray[np.uint8] = fused[0, 0, :height, :width].round().clamp(0, 255).byte().cpu().numpy()
        return picture


def _open_device(name: str) -> torch.device:
    """Returns the device; ContractError where this machine has none of that name."""
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    known = ["cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))]
    if name not in known:
        raise ContractError(f"device: expected one of auto, {', '.join(known)} on this machine, got {name!r}")
    return torch.device(name)
