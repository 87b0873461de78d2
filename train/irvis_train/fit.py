"""The one loop for all that is trained: schedule, checkpoints, resume, log, progress.

A run can be killed at any moment: a checkpoint is one file that is renamed into place, and each batch depends
on the seed and the step alone, so that a resumed run gives the very weights of one that was never stopped.
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
from torch import Tensor, nn

from irvis_runtime.atomic import write_text
from irvis_runtime.errors import ContractError
from irvis_runtime.progress import Progress

from .fit_extras import Extras
from .tensor_files import read_tensors, write_tensors

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
GRADIENT_CLIP = 1.0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Steps of a run: linear warm-up, then a cosine down to zero, or a fall at each milestone."""

    steps: int
    warmup_steps: int
    learning_rate: float
    checkpoint_every: int
    validate_every: int
    log_every: int = 0
    """Steps between rows of losses in the log; 0: only with a validation."""
    milestones: tuple[int, ...] = ()
    """Steps from which the rate is `decay` times what it was; none: the cosine."""
    decay: float = 0.5
    gradient_clip: float = GRADIENT_CLIP
    """Largest norm of all gradients together."""

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.milestones:
            return self.learning_rate * self.decay ** sum(step >= milestone for milestone in self.milestones)
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


def fit(task: Task, schedule: Schedule, run_dir: Path, extras: Extras | None = None) -> dict[str, float]:
    """Trains to the last step, from the run's checkpoint where there is one; returns the last validation.

    The result holds the task's numbers and `seconds`, which all sittings of the run took together; where
    `extras` says that another process writes, nothing is validated or written and it holds no numbers.
    ContractError for a checkpoint that is damaged or of another task, and for a run that diverges.
    """
    extras = extras or Extras()
    run_dir.mkdir(parents=True, exist_ok=True)
    optimizer = _adam(task.module, schedule.learning_rate)
    start, spent_s = _resume(task, optimizer, extras, run_dir / CHECKPOINT)
    if not extras.writes:
        for step in range(start, schedule.steps):
            _train_step(task, optimizer, schedule, extras, step)
        return {"seconds": spent_s}
    _drop_rows_after(run_dir / LOG, start)
    began = time.monotonic()
    result: dict[str, float] = {}
    with Progress("training", schedule.steps, start) as progress:
        for step in range(start, schedule.steps):
            parts = _train_step(task, optimizer, schedule, extras, step)
            done = step + 1
            numbers: dict[str, float] = {}
            if done % schedule.validate_every == 0 or done == schedule.steps:
                numbers = result = dict(task.validate(done))
            if numbers or (schedule.log_every and done % schedule.log_every == 0):
                row = {"step": done, **numbers, **_floats(parts), "seconds": spent_s + _since(began)}
                _log(run_dir / LOG, row)
            if done % schedule.checkpoint_every == 0 or done == schedule.steps:
                _save(task, optimizer, extras, run_dir / CHECKPOINT, done, spent_s + _since(began))
            progress.step(_note(parts, result))
    if not result:
        result = dict(task.validate(schedule.steps))
    return {**result, "seconds": spent_s + _since(began)}


def _adam(module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """On a GPU all parameters in one kernel: hundreds of launches a step else. On a CPU one at a time."""
    fused = next(module.parameters()).device.type == "cuda"
    return torch.optim.Adam(
        module.parameters(), lr=learning_rate, fused=fused, foreach=None if fused else False
    )


def _train_step(
    task: Task, optimizer: torch.optim.Optimizer, schedule: Schedule, extras: Extras, step: int
) -> Mapping[str, Tensor]:
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate_at(step)
    loss, parts = task.loss(step)
    if not torch.isfinite(loss):
        raise ContractError(
            f"step {step}: the loss is {loss.item()}; lower learning_rate and start the run again"
        )
    optimizer.zero_grad(set_to_none=True)
    extras.backward(loss, optimizer)
    norm = nn.utils.clip_grad_norm_(task.module.parameters(), schedule.gradient_clip)
    if not torch.isfinite(norm) and not extras.may_skip:
        raise ContractError(
            f"step {step}: the gradient is {norm.item()}; lower learning_rate and start the run again"
        )
    extras.update(optimizer)
    return parts


def _save(
    task: Task, optimizer: torch.optim.Optimizer, extras: Extras, path: Path, step: int, spent_s: float
) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in task.module.state_dict().items()}
    tensors |= extras.tensors()
    for name, parameter in task.module.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"adam.{key}.{name}"] = value
    metadata = {"step": str(step), "seconds": repr(spent_s), "identity": _identity(task)}
    write_tensors(path, tensors, metadata)


def _resume(task: Task, optimizer: torch.optim.Optimizer, extras: Extras, path: Path) -> tuple[int, float]:
    """Loads the checkpoint into module and optimizer; returns the steps done and the seconds they took."""
    if not path.exists():
        return 0, 0.0
    tensors, metadata = read_tensors(path, "delete it to start again")
    if metadata.get("identity") != _identity(task):
        raise ContractError(
            f"{path}: was made with another configuration; name another output, or delete it to start again"
        )
    try:
        _load(task, optimizer, tensors)
        extras.load(tensors)
        return int(metadata["step"]), float(metadata["seconds"])
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ContractError(
            f"{path}: was made by another version of irvis ({reason}); delete it to start again"
        ) from error


def _load(task: Task, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    prefix = "module."
    task.module.load_state_dict(
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    )
    if not any(name.startswith("adam.") for name in tensors):
        # Half precision skipped all steps so far.
        return
    for name, parameter in task.module.named_parameters():
        if not parameter.requires_grad:
            continue
        state = optimizer.state[parameter]
        # The fused kernel counts the steps on the GPU.
        fused = optimizer.defaults["fused"]
        state["step"] = tensors[f"adam.step.{name}"].to(parameter.device if fused else "cpu")
        for key in ("exp_avg", "exp_avg_sq"):
            # In the parameter's memory format, as Adam made it.
            state[key] = torch.empty_like(parameter, requires_grad=False).copy_(tensors[f"adam.{key}.{name}"])


def _identity(task: Task) -> str:
    return hashlib.sha256(json.dumps(task.identity, sort_keys=True, default=str).encode()).hexdigest()


def _log(path: Path, row: Mapping[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({name: round(value, 6) for name, value in row.items()}) + "\n")


def _drop_rows_after(path: Path, step: int) -> None:
    """Drops what is to be written again: rows later than the checkpoint, and one that a kill cut off."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    kept = "".join(f"{line}\n" for line in text.splitlines() if _step_of(line) <= step)
    if kept != text:
        write_text(path, kept)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _note(parts: Mapping[str, Tensor], result: Mapping[str, float]) -> str:
    numbers = [f"{name} {value:.4f}" for name, value in _floats(parts).items()]
    return "  ".join(numbers + [f"{name} {value:.2f}" for name, value in result.items()])


def _floats(parts: Mapping[str, Tensor]) -> dict[str, float]:
    return {f"loss_{name}": float(value) for name, value in parts.items()}


def _since(began: float) -> float:
    return time.monotonic() - began
