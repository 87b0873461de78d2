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

from .batches import Batch, BatchMaker
from .clip import load_clip
from .config import DistillConfig
from .data import LabelledPair, as_tensor, read_labelled_pairs, refuse_shared_pairs, teacher_identity
from .devices import open_device
from .endow import Guide, endow
from .fit import Schedule, fit
from .inherit import heir_of
from .ldfusion import LdFusion
from .losses import distillation_loss, psnr_db
from .model_dir import write_model_dir
from .objective import LanguageObjective
from .provenance import commit
from .student import Student
from .student_files import load_student
from .teacher import load_teacher

FP32_TAIL = 0.9
"""From this share of a run on, convolutions are FP32: bfloat16's rounding costs the last tenths of a dB."""
SAMPLES = 4
FRONT_WEIGHT = 0.15
"""Of the relative squared error of both fronts, while the ends learn alone."""
MAY_DIFFER = {
    *("teacher", "pairs", "val_pairs", "val_exclude", "output", "cache", "name"),
    *("threads", "device", "validate_every", "checkpoint_every"),
}
"""What a resumed run may be told anew: the same pictures and teacher may lie elsewhere."""


def distil(config: DistillConfig) -> Path:
    """Trains a student as configured and returns its model directory, `<output>/<name>`."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = open_device(config.device)
    started_at = commit()
    run_dir = Path(config.output)
    run_dir.mkdir(parents=True, exist_ok=True)
    teacher = load_teacher(config.teacher).to(device)
    cache = Path(config.cache)
    train_pairs = read_labelled_pairs(config.pairs, config.exclude, teacher, config.longest_side_px, cache)
    val_pairs = read_labelled_pairs(
        config.val_pairs, config.val_exclude, teacher, config.longest_side_px, cache
    )
    refuse_shared_pairs(train_pairs, val_pairs)
    torch.manual_seed(config.seed)
    student, guide = _start(config, teacher, train_pairs)
    batches = BatchMaker(train_pairs, teacher, config.seed, config.clips, device)
    task = Distillation(student.to(device), batches, val_pairs, config, run_dir / "samples", guide)
    schedule = Schedule(
        config.steps,
        config.warmup_steps,
        config.learning_rate,
        config.checkpoint_every,
        config.validate_every,
    )
    result = fit(task, schedule, run_dir)
    return write_model_dir(
        run_dir / config.name, student.cpu(), config, [pair.name for pair in train_pairs], started_at, result
    )


def _start(
    config: DistillConfig, teacher: nn.Module, pairs: Sequence[LabelledPair]
) -> tuple[Student, Guide | None]:
    """The student before its first step and, where it has to learn its ends first, who shows them."""
    student = Student(config.student).to(memory_format=torch.channels_last)
    if config.start == "nothing":
        return student, None
    if config.start != "teacher":
        donor = load_student(Path(config.start))
    elif isinstance(teacher, LdFusion):
        donor = heir_of(teacher, pairs, config.student.scene_channels).cpu()
    else:
        raise ContractError(
            'start: expected a teacher of the published topology, got a student; set start = "nothing"'
        )
    if config.student.ends == "fine" or donor.shape == student.shape:
        _copy_whole(donor, student)
        return student, None
    contexts = torch.stack([pair.context_2hw for pair in pairs])
    kept = endow(student, donor, contexts)
    return student, Guide(donor, kept).to(memory_format=torch.channels_last) if config.guide_steps else None


def _copy_whole(donor: Student, student: Student) -> None:
    if donor.shape != student.shape:
        raise ContractError(
            f"student: expected the shape of its start where the ends are fine, {donor.shape}, "
            f"got {student.shape}"
        )
    student.load_state_dict(donor.state_dict())


class Distillation:
    """The task of imitating the teacher's output; see fit.Task."""

    def __init__(
        self,
        student: Student,
        batches: BatchMaker,
        val_pairs: Sequence[LabelledPair],
        config: DistillConfig,
        samples: Path,
        guide: Guide | None = None,
    ) -> None:
        self.module: nn.Module = student
        self.student = student
        self.batches = batches
        self.val_pairs = val_pairs
        self.config = config
        self.samples = samples
        self.guide = guide.to(next(student.parameters()).device) if guide is not None else None
        self.device = next(student.parameters()).device
        self.objective = None
        if config.language_weight:
            self.objective = LanguageObjective(load_clip(config.clip, self.device), config.objective)
        self.identity: Mapping[str, Any] = {
            **{key: value for key, value in to_mapping(config).items() if key not in MAY_DIFFER},
            "pairs": [pair.name for pair in batches.pairs],
            "teacher": teacher_identity(batches.teacher),
        }

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss of the batch that this step has."""
        batch, config = self._batch(step), self.config
        lower = config.precision == "bf16" and step < FP32_TAIL * config.steps
        infrared, visible, context, target = batch.infrared, batch.visible, batch.context, batch.target
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lower):
            if self.guide is not None and step < config.guide_steps:
                front, fused = self.guide(self.student, infrared * 255.0, visible * 255.0, context)
            else:
                front, fused = None, self.student(infrared * 255.0, visible * 255.0, context)
        fused = fused.float() / 255.0
        weights = (config.gradient_weight, config.ssim_weight, config.coarse_weight, config.psnr_weight)
        loss, parts = distillation_loss(fused[: len(target)], target, *weights)
        if front is not None:
            return loss + FRONT_WEIGHT * front, {**parts, "front": front.detach()}
        if batch.repeat is not None:
            change = batch.repeat.flicker(fused)
            is_patch = len(target) < len(fused)
            weight = config.patch_weight if is_patch else config.flicker_weight
            loss, parts["patch" if is_patch else "flicker"] = loss + weight * change, change.detach()
        if self.objective is not None:
            generator = torch.Generator(self.device).manual_seed(config.seed * 1_000_003 + step)
            language, _ = self.objective(fused.clamp(0.0, 1.0), infrared, visible, generator)
            loss, parts["language"] = loss + config.language_weight * language, language.detach()
        return loss, parts

    def _batch(self, step: int) -> Batch:
        config = self.config
        late = step >= config.late_from * config.steps
        count, side_px = (config.late_batch, config.late_crop_px) if late else (config.batch, config.crop_px)

        def is_turn(every: int) -> bool:
            return every > 0 and step % every == every - 1

        if is_turn(config.clips_every):
            return self.batches.neighbours(step, count, side_px)
        if is_turn(config.patches_every):
            return self.batches.patched(step, 2 * config.whole_batch, config.student.multiple_px)
        if is_turn(config.degraded_every):
            return self.batches.degraded(step, count, side_px, config.max_severity)
        if is_turn(config.fresh_every):
            return self.batches.fresh(step, count, side_px)
        if is_turn(config.whole_every):
            return self.batches.whole(step, config.whole_batch, config.student.multiple_px)
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
        multiple = self.student.shape.multiple_px
        padding = (0, -width % multiple, 0, -height % multiple)
        infrared, visible = (
            F.pad(as_tensor(picture), padding, mode="replicate").to(self.device) * 255.0
            for picture in (pair.infrared_hw, pair.visible_hw)
        )
        with torch.no_grad():
            fused = self.student(infrared, visible, pair.context_2hw[None].to(self.device))
        picture: NDArray[np.uint8] = fused[0, 0, :height, :width].round().clamp(0, 255).byte().cpu().numpy()
        return picture
