"""The one loop for all that is trained: schedule, checkpoints, resume, log, progress.

A run can be killed at any moment: a checkpoint is one file that is renamed into place, and each batch depends on the
seed and the step alone, so that a resumed run gives the very weights of one that was never stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from irvis_runtime.atomic import replacing
from irvis_runtime.errors import ContractError
from irvis_runtime.progress import Progress
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
GRADIENT_CLIP = 1.0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Steps of a run: linear warm-up, then a cosine down to zero."""

    steps: int
    warmup_steps: int
    learning_rate: float
    checkpoint_every: int
    validate_every: int

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))


class Task(Protocol):
    """Something that is trained."""

    module: nn.Module
    identity: Mapping[str, Any]
    """What must be equal for a checkpoint to be taken up again: configuration without paths of outputs."""

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of a step and its parts."""
        ...

    def validate(self, step: int) -> Mapping[str, float]:
        """Numbers on held-out pairs; also writes sample pictures."""
        ...


def fit(task: Task, schedule: Schedule, run_dir: Path) -> dict[str, float]:
    """Trains to the last step, from the run's checkpoint where there is one; returns the last validation."""
    run_dir.mkdir(parents=True, exist_ok=True)
    # eps: gradients of a loss in [0, 1] are small; the default 1e-8 is kept, foreach is off for equal results.
    optimizer = torch.optim.Adam(task.module.parameters(), lr=schedule.learning_rate, foreach=False)
    start, spent_s = _resume(task, optimizer, run_dir / CHECKPOINT)
    began = time.monotonic()
    result: dict[str, float] = {}
    with Progress("training", schedule.steps, start) as progress:
        for step in range(start, schedule.steps):
            parts = _train_step(task, optimizer, schedule.rate_at(step), step)
            done = step + 1
            if done % schedule.validate_every == 0 or done == schedule.steps:
                result = dict(task.validate(done))
                _log(run_dir / LOG, {"step": done, **result, **_floats(parts), "seconds": spent_s + _since(began)})
            if done % schedule.checkpoint_every == 0 or done == schedule.steps:
                _save(task, optimizer, run_dir / CHECKPOINT, done, spent_s + _since(began))
            progress.step(_note(parts, result))
    if not result:
        result = dict(task.validate(schedule.steps))
    return {**result, "seconds": spent_s + _since(began)}


def _train_step(task: Task, optimizer: torch.optim.Optimizer, rate: float, step: int) -> Mapping[str, Tensor]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss, parts = task.loss(step)
    if not torch.isfinite(loss):
        raise ContractError(f"step {step}: the loss is {float(loss)}; lower learning_rate and start the run again")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(task.module.parameters(), GRADIENT_CLIP)
    optimizer.step()
    return parts


def _save(task: Task, optimizer: torch.optim.Optimizer, path: Path, step: int, spent_s: float) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in task.module.state_dict().items()}
    for name, parameter in task.module.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"adam.{key}.{name}"] = torch.as_tensor(value)
    metadata = {"step": str(step), "seconds": repr(spent_s), "identity": _identity(task)}
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary, metadata)


def _resume(task: Task, optimizer: torch.optim.Optimizer, path: Path) -> tuple[int, float]:
    """Loads the checkpoint into module and optimizer; returns the steps done and the seconds they took."""
    if not path.exists():
        return 0, 0.0
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ContractError(f"{path}: not a whole checkpoint ({error}); delete it to start again") from error
    if metadata["identity"] != _identity(task):
        raise ContractError(
            f"{path}: was made with another configuration; name another output, or delete it to start again"
        )
    task.module.load_state_dict(
        {name.removeprefix("module."): tensor for name, tensor in tensors.items() if name.startswith("module.")}
    )
    for name, parameter in task.module.named_parameters():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors[f"adam.{key}.{name}"]
            optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
    return int(metadata["step"]), float(metadata["seconds"])


def _identity(task: Task) -> str:
    return hashlib.sha256(json.dumps(task.identity, sort_keys=True, default=str).encode()).hexdigest()


def _log(path: Path, row: Mapping[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({name: round(float(value), 6) for name, value in row.items()}) + "\n")


def _note(parts: Mapping[str, Tensor], result: Mapping[str, float]) -> str:
    numbers = [f"{name} {value:.4f}" for name, value in _floats(parts).items()]
    return "  ".join(numbers + [f"{name} {value:.2f}" for name, value in result.items()])


def _floats(parts: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in parts.items()}


def _since(began: float) -> float:
    return time.monotonic() - began
