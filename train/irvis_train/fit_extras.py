"""What some runs add to the loop: averaged weights, a loss scale, processes that write nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

AVERAGE_PREFIX = "average."
SMALLEST_SCALE = 1.0
"""A gradient that is infinite at this scale is infinite, and no matter of half precision."""


class WeightAverage:
    """Exponential moving average of a module's weights; `module` is a copy that holds it.

    The decay grows towards `decay` in the first steps, (1 + n) / (10 + n), so that the weights at the start
    are soon forgotten (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.followed, self.decay = module, decay
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.updates = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the weights as they are now."""
        self.updates += 1
        count = int(self.updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        for average, value in zip(
            self.module.state_dict().values(), self.followed.state_dict().values(), strict=True
        ):
            if average.is_floating_point():
                average.lerp_(value, 1.0 - decay)
            else:
                average.copy_(value)


@dataclass(frozen=True)
class Extras:
    """A plain run has none of these."""

    average: WeightAverage | None = None
    scaler: GradScaler | None = None
    """Of the loss; half precision (FP16) would lose small gradients without it."""
    writes: bool = True
    """Whether this process validates and writes files; one of several does."""

    @property
    def may_skip(self) -> bool:
        """Whether a gradient that is not finite is left out: the loss scale is then lowered."""
        return self.scaler is not None and self.scaler.get_scale() > SMALLEST_SCALE

    def backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Computes the gradients, at their own scale."""
        if self.scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            return
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(optimizer)

    def update(self, optimizer: torch.optim.Optimizer) -> None:
        """Takes the step and what follows it."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()
        if self.average is not None:
            self.average.update()

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold beside weights and optimizer."""
        tensors: dict[str, Tensor] = {}
        if self.average is not None:
            tensors |= {
                AVERAGE_PREFIX + name: value for name, value in self.average.module.state_dict().items()
            }
            tensors["updates"] = self.average.updates
        if self.scaler is not None:
            state = self.scaler.state_dict()
            tensors["scaler"] = torch.tensor([state["scale"], state["_growth_tracker"]], dtype=torch.float64)
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes up what `tensors` gave; KeyError or RuntimeError where a checkpoint lacks it."""
        if self.average is not None:
            prefix = AVERAGE_PREFIX
            self.average.module.load_state_dict(
                {
                    name.removeprefix(prefix): value
                    for name, value in tensors.items()
                    if name.startswith(prefix)
                }
            )
            self.average.updates.copy_(tensors["updates"])
        if self.scaler is not None:
            scale, tracker = tensors["scaler"].tolist()
            self.scaler.load_state_dict(
                {**self.scaler.state_dict(), "scale": scale, "_growth_tracker": int(tracker)}
            )
