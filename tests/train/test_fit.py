from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from irvis_runtime.errors import ContractError
from irvis_train.fit import CHECKPOINT, LOG, Schedule, fit

from .runs import log_rows, metadata

SCHEDULE = Schedule(steps=10, warmup_steps=2, learning_rate=0.05, checkpoint_every=3, validate_every=4)


class Interrupted(Exception):
    pass


class Toy:
    """Learns a small filter from pictures that the step decides; lies in memory as the student does."""

    def __init__(self, stop_at: int | None = None) -> None:
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
        self.module: nn.Module = layers.to(memory_format=torch.channels_last)
        self.identity: Mapping[str, Any] = {"task": "toy", "steps": 10}
        self.stop_at = stop_at
        self.validated: list[int] = []

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        if step == self.stop_at:
            raise Interrupted
        generator = torch.Generator().manual_seed(step)
        picture = torch.rand(2, 3, 9, 9, generator=generator)
        target = picture[:, :2, 2:-2, 2:-2] * 2.0 - 1.0
        loss = (self.module(picture) - target).square().mean()
        return loss, {"square": loss.detach()}

    def validate(self, step: int) -> Mapping[str, float]:
        self.validated.append(step)
        return {"score": float(step)}


def trained(run_dir: Path, stop_at: int | None = None, schedule: Schedule = SCHEDULE) -> Toy:
    task = Toy(stop_at)
    if stop_at is None:
        fit(task, schedule, run_dir)
    else:
        with pytest.raises(Interrupted):
            fit(task, schedule, run_dir)
    return task


def assert_equal_weights(a: nn.Module, b: nn.Module) -> None:
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


@pytest.mark.parametrize("stop_at", [1, 3, 4, 5, 8, 9])
def test_a_run_stopped_anywhere_goes_on_to_the_same_weights(stop_at: int, tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "stopped", stop_at)
    resumed = trained(tmp_path / "stopped")
    assert_equal_weights(resumed.module, whole.module)
    whole_state, state = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "stopped"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole_state.items())
    # Nothing was done twice but what lay behind the last checkpoint, and the log tells each validation once.
    assert [row["step"] for row in log_rows(tmp_path / "stopped")] == [4, 8, 10]
    columns = ("step", "score", "loss_square")
    for row, expected in zip(log_rows(tmp_path / "stopped"), log_rows(tmp_path / "whole"), strict=True):
        assert [row[name] for name in columns] == [expected[name] for name in columns]


def test_a_run_stopped_twice_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    for stop_at in (4, 8, 7):
        trained(tmp_path / "stopped", stop_at)
    assert_equal_weights(trained(tmp_path / "stopped").module, trained(tmp_path / "whole").module)


def test_a_parameter_without_gradient_stays_and_the_run_goes_on(tmp_path: Path) -> None:
    """As what is usual of a scene's features, which a student holds and does not train."""

    def half_still(stop_at: int | None = None) -> Toy:
        task = Toy(stop_at)
        task.module.get_parameter("0.weight").requires_grad_(False)
        return task

    whole = half_still()
    fit(whole, SCHEDULE, tmp_path / "whole")
    assert torch.equal(whole.module.get_parameter("0.weight"), Toy().module.get_parameter("0.weight"))
    assert not torch.equal(whole.module.get_parameter("0.bias"), Toy().module.get_parameter("0.bias"))
    with pytest.raises(Interrupted):
        fit(half_still(5), SCHEDULE, tmp_path / "stopped")
    resumed = half_still()
    fit(resumed, SCHEDULE, tmp_path / "stopped")
    assert_equal_weights(resumed.module, whole.module)


def test_the_loop_is_adam_with_clipped_gradients(tmp_path: Path) -> None:
    """Against the plain loop that torch's manual shows."""
    plain = Toy()
    optimizer = torch.optim.Adam(plain.module.parameters())
    for step in range(SCHEDULE.steps):
        optimizer.param_groups[0]["lr"] = SCHEDULE.rate_at(step)
        optimizer.zero_grad()
        torch.autograd.backward(plain.loss(step)[0])
        nn.utils.clip_grad_norm_(plain.module.parameters(), 1.0)
        optimizer.step()
    found = trained(tmp_path / "run")
    for name, tensor in found.module.state_dict().items():
        torch.testing.assert_close(tensor, plain.module.state_dict()[name], rtol=1e-5, atol=1e-6)


def test_the_result_is_the_last_validation_and_all_seconds(tmp_path: Path) -> None:
    task = Toy()
    result = fit(task, SCHEDULE, tmp_path / "run")
    assert task.validated == [4, 8, 10]
    assert result.keys() == {"score", "seconds"}
    assert result["score"] == 10.0
    # A finished run is validated again, not trained.
    again = Toy(stop_at=9)
    repeated = fit(again, SCHEDULE, tmp_path / "run")
    assert again.validated == [10]
    assert_equal_weights(again.module, task.module)
    assert repeated["score"] == 10.0
    # The checkpoint's seconds are those before its own writing.
    assert repeated["seconds"] > 0.0
    assert [row["step"] for row in log_rows(tmp_path / "run")] == [4, 8, 10]


def test_seconds_of_all_sittings_add_up(tmp_path: Path) -> None:
    trained(tmp_path / "run", 4)
    path = tmp_path / "run" / CHECKPOINT
    save_file(load_file(path), path, metadata(path) | {"seconds": "1000.5"})
    assert 1000.5 < fit(Toy(), SCHEDULE, tmp_path / "run")["seconds"] < 1100.0
    assert log_rows(tmp_path / "run")[-1]["seconds"] > 1000.5


def refused(run_dir: Path, match: str, task: Toy | None = None) -> None:
    with pytest.raises(ContractError, match=match) as info:
        fit(task or Toy(), SCHEDULE, run_dir)
    assert "\n" not in str(info.value)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, 4)
    before = (tmp_path / CHECKPOINT).read_bytes()
    other = Toy()
    other.identity = {"task": "toy", "steps": 11}
    refused(tmp_path, "made with another configuration; name another output, or delete it", other)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_half_a_checkpoint_is_refused_with_advice(tmp_path: Path) -> None:
    trained(tmp_path, 4)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    for size in (0, 9, len(whole) // 2, len(whole) - 1):
        (tmp_path / CHECKPOINT).write_bytes(whole[:size])
        refused(tmp_path, "checkpoint.safetensors: not a whole safetensors file .*; delete it to start again")
    (tmp_path / CHECKPOINT).write_bytes(whole)
    assert_equal_weights(trained(tmp_path).module, trained(tmp_path / "whole").module)


def test_a_checkpoint_that_lacks_something_is_refused(tmp_path: Path) -> None:
    trained(tmp_path, 4)
    path = tmp_path / CHECKPOINT
    tensors, header = load_file(path), metadata(path)
    save_file(tensors, path)
    refused(tmp_path, "made with another configuration")
    save_file({name: tensor for name, tensor in tensors.items() if name != "adam.step.0.bias"}, path, header)
    refused(tmp_path, r"made by another version of irvis \('adam.step.0.bias'\); delete it")
    save_file(tensors | {"module.0.bias": torch.zeros(5)}, path, header)
    refused(tmp_path, "made by another version of irvis .*size mismatch")
    save_file(tensors | {"adam.exp_avg.0.bias": torch.zeros(7)}, path, header)
    refused(tmp_path, "made by another version of irvis")
    save_file(tensors, path, {"identity": header["identity"], "seconds": "1.0"})
    refused(tmp_path, "made by another version of irvis")


class Diverging(Toy):
    """Its loss, or only its gradient, is not finite from step 6 on."""

    def __init__(self, bad: str) -> None:
        super().__init__()
        self.bad = bad

    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss, parts = super().loss(step)
        if step >= 6:
            zero = 0.0 * loss
            # The root's gradient at zero is infinite, its value is not.
            loss = loss * float("nan") if self.bad == "loss" else loss + zero.sqrt()
        return loss, parts


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_a_run_that_diverges_stops_at_once_and_keeps_its_checkpoint(bad: str, tmp_path: Path) -> None:
    schedule = Schedule(10, 2, 0.05, checkpoint_every=1, validate_every=4)
    with pytest.raises(ContractError, match=f"step 6: the {bad} is (nan|inf); lower learning_rate") as info:
        fit(Diverging(bad), schedule, tmp_path)
    assert "\n" not in str(info.value)
    assert metadata(tmp_path / CHECKPOINT)["step"] == "6"
    assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / CHECKPOINT).values())


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    trained(tmp_path, 4)
    before = (tmp_path / CHECKPOINT).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        refused(tmp_path, "cannot write .*checkpoint.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, LOG]


def test_a_log_without_its_checkpoint_and_half_a_row_are_dropped(tmp_path: Path) -> None:
    trained(tmp_path, 6)
    (tmp_path / LOG).write_text((tmp_path / LOG).read_text() + '{"step": 6, "sc')
    trained(tmp_path)
    assert [row["step"] for row in log_rows(tmp_path)] == [4, 8, 10]
    (tmp_path / CHECKPOINT).unlink()
    trained(tmp_path)
    assert [row["step"] for row in log_rows(tmp_path)] == [4, 8, 10]


def test_the_schedule_warms_up_to_the_peak_and_ends_near_zero() -> None:
    schedule = Schedule(100, 10, 2e-3, 1, 1)
    assert schedule.rate_at(0) == pytest.approx(2e-4)
    assert schedule.rate_at(9) == pytest.approx(2e-3)
    assert schedule.rate_at(10) == pytest.approx(2e-3)
    assert schedule.rate_at(55) == pytest.approx(1e-3)
    assert 0.0 < schedule.rate_at(99) < 1e-6
    assert schedule.rate_at(100) == pytest.approx(0.0)


@given(steps=st.integers(1, 500), warmup_steps=st.integers(0, 600), rate=st.floats(1e-6, 0.9))
def test_the_rate_rises_then_falls_and_never_leaves_its_range(
    steps: int, warmup_steps: int, rate: float
) -> None:
    schedule = Schedule(steps, warmup_steps, rate, 1, 1)
    rates = [schedule.rate_at(step) for step in range(steps)]
    assert all(0.0 < value <= rate * (1 + 1e-9) for value in rates)
    warm, cool = rates[:warmup_steps], rates[warmup_steps:]
    assert warm == sorted(warm)
    assert cool == sorted(cool, reverse=True)
    assert not cool or cool[0] == pytest.approx(rate)
