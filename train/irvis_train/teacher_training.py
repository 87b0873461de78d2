"""Trains a teacher by language: its task for the loop, samples and measures, and the teacher at the end."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from irvis_runtime.config import to_mapping
from irvis_runtime.errors import ContractError

from .balance import balance_kernels
from .clip import ClipTowers, load_clip
from .data import teacher_identity
from .devices import open_device
from .fidelity import gradient_term, intensity_term
from .fit import Schedule, fit
from .fit_extras import Extras, WeightAverage
from .ldfusion import LdFusion, LdFusionShape
from .objective import LanguageObjective
from .provenance import commit, versions
from .ranks import Ranks, open_ranks
from .teacher import FORMAT, SUFFIX, load_teacher
from .teacher_config import MILESTONES, SCRATCH, TeacherConfig
from .teacher_data import CropPlan, TrainingPair, draw_batch, read_training_pairs
from .teacher_samples import write_samples
from .tensor_files import write_tensors

PAPER_WIDTH = 16
INITIAL_DEVIATION = 0.02
"""Of the convolutions' weights at the start from scratch, as published."""
OF_THE_MACHINE = {
    "output",
    "threads",
    "device",
    "log_every",
    "samples_every",
    "sample_count",
    "checkpoint_every",
}
MAY_DIFFER = OF_THE_MACHINE | {"pairs", "val_pairs", "val_exclude", "start", "clip", "name"}
"""What a resumed run may be told anew; pictures, start and CLIP are known by what they hold."""


def train_teacher(config: TeacherConfig) -> Path:
    """Trains a teacher as configured and returns its file, `<output>/<name>.safetensors`.

    Under torchrun each process takes its share of every batch; the first one writes all files.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    with open_ranks(config.device) as ranks:
        ranks.share(config.batch)
        device = open_device(config.device, ranks)
        network = make_network(config)
        clip = load_clip(config.clip, device)
        pairs = read_training_pairs(config.pairs, config.exclude, config.longest_side_px, ranks.is_first)
        samples = _sample_pairs(config, pairs, ranks)
        task = LanguageTraining(network.to(device), clip, pairs, samples, config, ranks)
        extras = Extras(
            average=task.average,
            scaler=GradScaler(device.type) if config.precision == "fp16" else None,
            writes=ranks.is_first,
        )
        fit(task, make_schedule(config), Path(config.output), extras)
        path = Path(config.output) / f"{config.name}{SUFFIX}"
        if ranks.is_first:
            save_teacher(path, task.result, task.provenance())
        return path


def make_network(config: TeacherConfig) -> LdFusion:
    """The network as it starts; ContractError where a checkpoint's shape is not the configured one."""
    if config.start == SCRATCH:
        torch.manual_seed(config.seed)
        width = PAPER_WIDTH if config.width is None else config.width
        network = LdFusion(LdFusionShape(width, config.style is not False))
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, INITIAL_DEVIATION)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        return network
    started = load_teacher(config.start)
    if not isinstance(started, LdFusion):
        raise ContractError(f"start: {config.start} is a student; name a teacher's checkpoint")
    for name in ("width", "style"):
        wanted, found = getattr(config, name), getattr(started.shape, name)
        if wanted is not None and wanted != found:
            raise ContractError(
                f"{name}: expected {found}, as {config.start} has, got {wanted}; leave it out or start anew"
            )
    return started.requires_grad_(True)


def make_schedule(config: TeacherConfig) -> Schedule:
    """The paper's falls at fixed shares of the run, or a cosine."""
    is_multistep = config.schedule == "multistep"
    return Schedule(
        steps=config.steps,
        warmup_steps=config.warmup_steps,
        learning_rate=config.learning_rate,
        checkpoint_every=config.checkpoint_every,
        validate_every=config.samples_every,
        log_every=config.log_every,
        milestones=tuple(round(share * config.steps) for share in MILESTONES) if is_multistep else (),
        gradient_clip=config.gradient_clip,
    )


def save_teacher(path: Path, network: LdFusion, provenance: Mapping[str, object]) -> None:
    """Writes what `load_teacher` takes, with its shape and provenance in the header."""
    metadata = {
        "format": FORMAT,
        "shape": json.dumps({"width": network.shape.width, "style": network.shape.style}),
        "source": "irvis train teacher",
        "provenance": json.dumps(provenance, sort_keys=True),
    }
    write_tensors(path, network.state_dict(), metadata)


class LanguageTraining:
    """The task of following a text; see fit.Task."""

    def __init__(
        self,
        network: LdFusion,
        clip: ClipTowers,
        pairs: Sequence[TrainingPair],
        samples: Sequence[TrainingPair],
        config: TeacherConfig,
        ranks: Ranks,
    ) -> None:
        self.module: nn.Module = network
        self.network, self.clip, self.pairs, self.samples = network, clip, pairs, samples
        self.config, self.ranks = config, ranks
        self.device = next(network.parameters()).device
        self.start = copy.deepcopy(network).eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                # Under autocast norms are then FP32: they sum over whole pictures.
                module.register_forward_hook(_in_single_precision)
        self.average = WeightAverage(network, config.ema_decay) if config.ema_decay else None
        self.objective = LanguageObjective(clip, config.objective).to(self.device)
        self.plan = CropPlan(config.crop_px, config.zoom, config.target_share, config.seed)
        self.places = ranks.share(config.batch)
        self.fuse: nn.Module = network
        if ranks.count > 1:
            devices = [self.device.index] if self.device.type == "cuda" else None
            self.fuse = DistributedDataParallel(network, device_ids=devices)
        self.identity: Mapping[str, Any] = {
            **{key: value for key, value in to_mapping(config).items() if key not in MAY_DIFFER},
            "pairs": [pair.name for pair in pairs],
            "start": teacher_identity(self.start),
            "clip": clip.identity,
        }

    @property
    def result(self) -> LdFusion:
        """The network as it would be written now: the average where there is one, balanced if so told."""
        network = self.network if self.average is None else self.average.module
        if not isinstance(network, LdFusion):
            raise ContractError(f"expected an LdFusion to write, got {type(network).__name__}")
        if not self.config.balanced:
            return network
        balanced = LdFusion(network.shape).to(self.device).requires_grad_(False)
        balanced.load_state_dict(network.state_dict())
        balance_kernels(balanced)
        return balanced

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss of this process's part of the step's batch; its value is the mean over all processes."""
        if self.config.balanced:
            balance_kernels(self.network)
        batch = draw_batch(self.pairs, self.plan, step, self.places)
        infrared, visible = batch.infrared.to(self.device), batch.visible.to(self.device)
        noise = self.config.input_noise * batch.noise.to(self.device)
        dtype = torch.float16 if self.config.precision == "fp16" else torch.bfloat16
        with torch.autocast(self.device.type, dtype, enabled=self.config.precision != "fp32"):
            fused = self.fuse(infrared + noise[:, :1], visible + noise[:, 1:]).float()
        loss, parts = self._language(fused, infrared, visible, step)
        for name, (weight, part) in self._fidelity(fused, infrared, visible).items():
            loss = loss + weight * part
            parts[name] = part.detach()
        return self._agreed(loss, parts, step)

    def _language(
        self, fused: Tensor, infrared: Tensor, visible: Tensor, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective, mean over the pictures; each has draws of its own, by its place in the whole batch.

        So it is the same however the batch is shared out.
        """
        losses: list[Tensor] = []
        parts: dict[str, list[Tensor]] = {}
        for row, place in enumerate(self.places):
            planes = (picture[row : row + 1] for picture in (fused, infrared, visible))
            loss, of_one = self.objective(*planes, self._generator(step, place))
            losses.append(loss)
            for name, part in of_one.items():
                parts.setdefault(name, []).append(part)
        return torch.stack(losses).mean(), {name: torch.stack(each).mean() for name, each in parts.items()}

    def _fidelity(self, fused: Tensor, infrared: Tensor, visible: Tensor) -> dict[str, tuple[float, Tensor]]:
        terms: dict[str, tuple[float, Tensor]] = {}
        if self.config.gradient_weight:
            terms["gradient"] = (self.config.gradient_weight, gradient_term(fused, infrared, visible))
        if self.config.intensity_weight:
            terms["intensity"] = (self.config.intensity_weight, intensity_term(fused, infrared, visible))
        if self.config.anchor_weight:
            with torch.no_grad():
                held = self.start(infrared, visible)
            terms["anchor"] = (self.config.anchor_weight, F.l1_loss(fused, held))
        return terms

    def _generator(self, step: int, place: int) -> torch.Generator:
        words = np.random.SeedSequence((self.config.seed, step, place)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(words[0]) >> 1)

    def _agreed(
        self, loss: Tensor, parts: Mapping[str, Tensor], step: int
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Loss and parts with the mean's values over all processes; gradients stay this process's own."""
        if self.ranks.count == 1:
            return loss, parts
        values = [loss.detach(), *parts.values(), torch.tensor(float(step), device=self.device)]
        means = self.ranks.mean(torch.stack([value.detach().float() for value in values]))
        if float(means[-1]) != step:
            raise ContractError(
                f"step {step}: other processes are at another step; give all the same output folder"
            )
        return loss + (means[0] - loss).detach(), dict(zip(parts, means[1:-1], strict=True))

    def validate(self, step: int) -> Mapping[str, float]:
        """Writes samples and returns what write_samples measures on them."""
        folder = Path(self.config.output) / "samples"
        measures = write_samples(self.result.eval(), self.start, self.samples, folder, step)
        self.network.train()
        return measures

    def provenance(self) -> dict[str, object]:
        """What made the teacher: configuration, pairs a folder, start, CLIP and versions."""
        counts: dict[str, int] = {}
        for pair in self.pairs:
            part = pair.name.split("/", 1)[0] if "/" in pair.name else "."
            counts[part] = counts.get(part, 0) + 1
        config = {key: value for key, value in to_mapping(self.config).items() if key not in OF_THE_MACHINE}
        return {
            "config": config,
            "trained_on_pairs": counts,
            "start": self.identity["start"],
            "clip": self.clip.identity,
            "processes": self.ranks.count,
            "commit": commit(),
            "versions": versions(),
        }


def _sample_pairs(
    config: TeacherConfig, pairs: Sequence[TrainingPair], ranks: Ranks
) -> Sequence[TrainingPair]:
    """Pairs to look at and to measure, spread evenly over those there are; only the first process has any."""
    if not ranks.is_first:
        return []
    if config.val_pairs:
        pairs = read_training_pairs(config.val_pairs, config.val_exclude, config.longest_side_px)
    chosen = np.linspace(0, len(pairs) - 1, min(config.sample_count, len(pairs))).round().astype(int)
    return [pairs[index] for index in chosen]


def _in_single_precision(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return output.float()
