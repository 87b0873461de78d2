"""A run from its configuration to its teacher."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture
from irvis_train.balance import imbalance
from irvis_train.fit import CHECKPOINT
from irvis_train.ldfusion import LdFusion
from irvis_train.teacher import load_teacher
from irvis_train.teacher_config import TeacherConfig
from irvis_train.teacher_training import LanguageTraining, make_network, train_teacher
from irvis_train.tensor_files import read_tensors

MakeTeacherConfig = Callable[..., TeacherConfig]
MakeTask = Callable[[TeacherConfig], LanguageTraining]
LAST_BIAS = "decoder.model_up.10.bias"


def gradients(task: LanguageTraining, step: int) -> Tensor:
    loss, _ = task.loss(step)
    parts = torch.autograd.grad(loss, list(task.module.parameters()))
    return torch.cat([part.flatten() for part in parts])


def log_rows(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_teacher_its_losses_and_samples(
    make_teacher_config: MakeTeacherConfig, tmp_path: Path
) -> None:
    config = make_teacher_config(tmp_path / "run")
    path = train_teacher(config)
    assert path == tmp_path / "run" / "teacher.safetensors"
    teacher = load_teacher(path)
    assert isinstance(teacher, LdFusion)
    assert (teacher.shape.width, teacher.shape.style) == (2, False)
    header = read_tensors(path, "")[1]
    provenance = json.loads(header["provenance"])
    assert provenance["trained_on_pairs"] == {"day": 2, "night": 1}
    assert provenance["config"]["objective"]["texts_fused"] == list(config.objective.texts_fused)
    assert len(provenance["clip"]) == len(provenance["start"]) == 64
    rows = log_rows(tmp_path / "run")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    losses = {"loss_global", "loss_patch", "loss_regularisation", "loss_perceptual", "loss_gradient"}
    assert all(losses <= row.keys() for row in rows)
    assert {row["step"] for row in rows if "background_gradient" in row} == {3, 5}
    samples = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert samples == [f"{step:06d}-{index:02d}.png" for step in (3, 5) for index in (0, 1)]
    assert read_picture(tmp_path / "run" / "samples" / "000005-00.png").shape == (48, 4 * 48)


def test_the_result_is_the_average_of_the_weights(
    make_teacher_config: MakeTeacherConfig, tmp_path: Path
) -> None:
    averaged = load_file(train_teacher(make_teacher_config(tmp_path / "a")))
    plain = load_file(train_teacher(make_teacher_config(tmp_path / "b", ema_decay=0.0)))
    for run, tensors, prefix in (("a", averaged, "average."), ("b", plain, "module.")):
        state = load_file(tmp_path / run / CHECKPOINT)
        assert all(torch.equal(tensor, state[prefix + name]) for name, tensor in tensors.items())
    assert any(not torch.equal(tensor, plain[name]) for name, tensor in averaged.items())


@pytest.mark.parametrize("style", [False, True])
def test_a_picture_follows_its_text(
    style: bool, make_teacher_config: MakeTeacherConfig, tmp_path: Path
) -> None:
    """From scratch, by the language loss alone, as far as this CLIP of random weights can be followed."""
    config = make_teacher_config(
        tmp_path,
        style=style,
        objective={
            "patches": 2,
            "patch_min_entropy_bits": 0.0,
            "regularisation_weight": 0.0,
            "perceptual_weight": 0.0,
        },
        steps=30,
        learning_rate=1e-2,
        schedule="cosine",
        samples_every=99,
        input_noise=0.0,
        gradient_weight=0.0,
        ema_decay=0.0,
    )
    train_teacher(config)
    rows = log_rows(tmp_path)
    for name in ("loss_global", "loss_patch"):
        first, last = (sum(row[name] for row in part) for part in (rows[:5], rows[-5:]))
        assert last < 0.95 * first, name


def test_a_run_starts_from_a_checkpoint_and_stays_there_where_it_is_told_nothing(
    make_teacher_config: MakeTeacherConfig, teacher_file: Path, tmp_path: Path
) -> None:
    changes = {"start": str(teacher_file), "learning_rate": 1e-12, "width": None, "style": None}
    path = train_teacher(make_teacher_config(tmp_path / "run", **changes))
    for name, tensor in load_file(teacher_file).items():
        torch.testing.assert_close(load_file(path)[name], tensor, atol=1e-6, rtol=0.0)
    with pytest.raises(ContractError, match=r"width: expected 4, as .*teacher\.safetensors has, got 2"):
        make_network(make_teacher_config(tmp_path / "x", start=str(teacher_file), width=2))


def test_the_anchor_is_the_starts_own_output(
    make_teacher_config: MakeTeacherConfig, make_task: MakeTask, teacher_file: Path, tmp_path: Path
) -> None:
    config = make_teacher_config(
        tmp_path, start=str(teacher_file), width=None, anchor_weight=3.0, input_noise=0.0
    )
    task = make_task(config)
    assert float(task.loss(0)[1]["anchor"]) == 0.0
    with torch.no_grad():
        task.network.state_dict()[LAST_BIAS].add_(0.5)
    assert float(task.loss(0)[1]["anchor"]) > 0.05


@pytest.mark.parametrize(("precision", "likeness"), [("bf16", 0.8), ("fp16", 0.95)])
def test_lower_precision_gives_nearly_the_same_gradients(
    precision: str,
    likeness: float,
    make_teacher_config: MakeTeacherConfig,
    make_task: MakeTask,
    tmp_path: Path,
) -> None:
    full, lower = (
        gradients(make_task(make_teacher_config(tmp_path, precision=name)), 0) for name in ("fp32", precision)
    )
    assert not torch.equal(full, lower)
    assert float(torch.nn.functional.cosine_similarity(full, lower, dim=0)) > likeness


def test_a_run_in_half_precision_ends_with_a_teacher(
    make_teacher_config: MakeTeacherConfig, tmp_path: Path
) -> None:
    path = train_teacher(make_teacher_config(tmp_path / "run", precision="fp16", steps=20))
    assert isinstance(load_teacher(path), LdFusion)
    state = load_file(tmp_path / "run" / CHECKPOINT)
    assert float(state["scaler"][0]) >= 1.0


def test_another_clip_or_text_is_another_run(make_teacher_config: MakeTeacherConfig, tmp_path: Path) -> None:
    train_teacher(make_teacher_config(tmp_path / "run", steps=2))
    texts = {"patches": 3, "patch_min_entropy_bits": 2.0, "texts_fused": ["a dull image"]}
    with pytest.raises(ContractError, match="made with another configuration"):
        train_teacher(make_teacher_config(tmp_path / "run", steps=2, objective=texts))


def test_a_text_beyond_the_context_is_refused_before_anything_is_trained(
    make_teacher_config: MakeTeacherConfig, tmp_path: Path
) -> None:
    texts = {"texts_fused": ["a clear image " * 20]}
    with pytest.raises(ContractError, match=r"tokens, but this CLIP's context holds 20"):
        train_teacher(make_teacher_config(tmp_path / "run", objective=texts))
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_a_balanced_run_ends_with_balanced_kernels(
    make_teacher_config: MakeTeacherConfig, tmp_path: Path
) -> None:
    for decay in (0.0, 0.9):
        path = train_teacher(
            make_teacher_config(tmp_path / str(decay), balanced=True, ema_decay=decay, style=True)
        )
        assert imbalance(load_teacher(path)) < 1e-6
    assert imbalance(load_teacher(train_teacher(make_teacher_config(tmp_path / "plain")))) > 1e-3
