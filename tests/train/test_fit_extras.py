"""Averaged weights, loss scale and silent processes: beside the loop, and within a resumed run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from irvis_runtime.errors import ContractError
from irvis_train.fit import CHECKPOINT, LOG, Schedule, fit
from irvis_train.fit_extras import Extras, WeightAverage

SCHEDULE = Schedule(
    steps=10, warmup_steps=0, learning_rate=0.05, checkpoint_every=3, validate_every=4, log_every=2
)


class Interrupted(Exception):
    pass


class Toy:
    """Learns a small filter; `spike` is a step whose gradient is infinite."""

    def __init__(self, stop_at: int | None = None, spike: int | None = None) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 1, 3))
        self.identity: Mapping[str, Any] = {"task": "toy"}
        self.stop_at, self.spike = stop_at, spike

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        if step == self.stop_at:
            raise Interrupted
        picture = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(step))
        loss = (self.module(picture) - picture[..., 2:-2, 2:-2]).square().mean()
        loss = loss + (0.0 * loss).sqrt() if step == self.spike else loss
        return loss, {"square": loss.detach()}

    def validate(self, step: int) -> Mapping[str, float]:
        return {"score": float(step)}


def extras_of(task: Toy, scaled: bool = True, writes: bool = True) -> Extras:
    scaler = GradScaler("cpu", init_scale=2.0**15, growth_interval=4) if scaled else None
    return Extras(WeightAverage(task.module, 0.9), scaler, writes)


def rows(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / LOG).read_text().splitlines()]


def test_the_average_is_the_sum_that_its_definition_says() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, decay=0.75)
    expected = layer.weight.item()
    for count, value in enumerate((3.0, -1.0, 2.0, 5.0) * 10, start=1):
        with torch.no_grad():
            layer.weight.fill_(value)
        average.update()
        decay = min(0.75, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * value
    assert float(average.module.state_dict()["weight"]) == pytest.approx(expected, rel=1e-5)
    assert layer.weight.item() == 5.0


def test_a_scaled_loss_takes_the_steps_of_a_plain_one(tmp_path: Path) -> None:
    plain, scaled = Toy(), Toy()
    fit(plain, SCHEDULE, tmp_path / "plain")
    fit(scaled, SCHEDULE, tmp_path / "scaled", extras_of(scaled))
    for a, b in zip(plain.module.parameters(), scaled.module.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("stop_at", [1, 5, 7])
def test_a_stopped_run_goes_on_with_average_and_scale(stop_at: int, tmp_path: Path) -> None:
    whole = Toy(spike=2)
    whole_extras = extras_of(whole)
    fit(whole, SCHEDULE, tmp_path / "whole", whole_extras)
    stopped = Toy(stop_at, spike=2)
    with pytest.raises(Interrupted):
        fit(stopped, SCHEDULE, tmp_path / "stopped", extras_of(stopped))
    resumed = Toy(spike=2)
    extras = extras_of(resumed)
    fit(resumed, SCHEDULE, tmp_path / "stopped", extras)
    for name, tensor in whole_extras.tensors().items():
        assert torch.equal(tensor, extras.tensors()[name]), name
    assert (tmp_path / "whole" / CHECKPOINT).stat().st_size == (
        tmp_path / "stopped" / CHECKPOINT
    ).stat().st_size
    assert [row["step"] for row in rows(tmp_path / "stopped")] == [2, 4, 6, 8, 10]


def test_an_infinite_gradient_is_skipped_and_lowers_the_scale(tmp_path: Path) -> None:
    task = Toy(spike=0)
    before = [parameter.clone() for parameter in task.module.parameters()]
    extras = extras_of(task)
    once = Schedule(1, 0, 0.05, 1, 1)
    fit(task, once, tmp_path, extras)
    assert all(torch.equal(a, b) for a, b in zip(before, task.module.parameters(), strict=True))
    assert extras.scaler is not None
    assert extras.scaler.get_scale() == 2.0**14
    # A checkpoint before the first step that was taken holds no optimizer's state, and is taken up.
    again = Toy()
    fit(again, once, tmp_path, extras_of(again))


def test_an_infinite_gradient_without_scale_left_stops_the_run(tmp_path: Path) -> None:
    task = Toy(spike=1)
    extras = Extras(scaler=GradScaler("cpu", init_scale=1.0))
    with pytest.raises(ContractError, match="step 1: the gradient is"):
        fit(task, SCHEDULE, tmp_path, extras)


def test_a_process_that_only_computes_writes_nothing_and_reaches_the_same_weights(tmp_path: Path) -> None:
    writing, silent = Toy(), Toy()
    fit(writing, SCHEDULE, tmp_path / "a", extras_of(writing))
    result = fit(silent, SCHEDULE, tmp_path / "b", extras_of(silent, writes=False))
    assert list((tmp_path / "b").iterdir()) == []
    assert result.keys() == {"seconds"}
    for a, b in zip(writing.module.parameters(), silent.module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_without_average_is_refused_by_a_run_with_one(tmp_path: Path) -> None:
    fit(Toy(), SCHEDULE, tmp_path)
    task = Toy()
    with pytest.raises(ContractError, match="made by another version of irvis"):
        fit(task, SCHEDULE, tmp_path, extras_of(task))


def test_losses_are_logged_between_validations(tmp_path: Path) -> None:
    fit(Toy(), SCHEDULE, tmp_path)
    found = rows(tmp_path)
    assert [row["step"] for row in found] == [2, 4, 6, 8, 10]
    assert [row["step"] for row in found if "score" in row] == [4, 8, 10]
    assert all(row["loss_square"] > 0.0 for row in found)


def test_milestones_replace_the_cosine() -> None:
    schedule = Schedule(100, 10, 8e-4, 1, 1, milestones=(50, 60, 90), decay=0.5)
    assert schedule.rate_at(4) == pytest.approx(4e-4)
    found = [schedule.rate_at(step) for step in (10, 49, 50, 59, 60, 89, 90, 99)]
    assert found == pytest.approx([8e-4, 8e-4, 4e-4, 4e-4, 2e-4, 2e-4, 1e-4, 1e-4])
