"""Single steps of a distillation: which batch each takes, and what its loss is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from irvis_runtime.contract import load_manifest
from irvis_runtime.image import read_picture, write_picture
from irvis_train.batches import Batch, BatchMaker
from irvis_train.clip_files import CONFIG_NAME, WEIGHTS_NAME
from irvis_train.config import DistillConfig
from irvis_train.data import LabelledPair, read_labelled_pairs
from irvis_train.distill import Distillation, distil
from irvis_train.endow import Guide, endow
from irvis_train.inherit import heir_of
from irvis_train.ldfusion import LdFusion
from irvis_train.student import Student
from irvis_train.teacher import load_teacher
from irvis_train.tensor_files import write_tensors

from .runs import log_rows

MakeConfig = Callable[..., DistillConfig]


class RecordingBatches(BatchMaker):
    """Notes which kind of batch each step takes."""

    def __init__(
        self, pairs: Sequence[LabelledPair], teacher: nn.Module, seed: int, clips: Sequence[str]
    ) -> None:
        super().__init__(pairs, teacher, seed, clips)
        self.taken: list[tuple[str, int, int, int]] = []

    def cached(self, step: int, count: int, side_px: int) -> Batch:
        self.taken.append(("cached", step, count, side_px))
        return super().cached(step, count, side_px)

    def fresh(self, step: int, count: int, side_px: int) -> Batch:
        self.taken.append(("fresh", step, count, side_px))
        return super().fresh(step, count, side_px)

    def whole(self, step: int, count: int, multiple_px: int) -> Batch:
        self.taken.append(("whole", step, count, multiple_px))
        return super().whole(step, count, multiple_px)

    def patched(self, step: int, count: int, multiple_px: int) -> Batch:
        self.taken.append(("patched", step, count, multiple_px))
        return super().patched(step, count, multiple_px)

    def degraded(self, step: int, count: int, side_px: int, max_severity: float) -> Batch:
        self.taken.append(("degraded", step, count, side_px))
        return super().degraded(step, count, side_px, max_severity)

    def neighbours(self, step: int, count: int, side_px: int) -> Batch:
        self.taken.append(("neighbours", step, count, side_px))
        return super().neighbours(step, count, side_px)


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Path:
    """A folder as `irvis train clip` leaves it: open_clip's own classes, tiny, with random weights."""
    shape: dict[str, Any] = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    torch.manual_seed(5)
    model = open_clip.model.CLIP(**shape)
    folder = tmp_path / "clip"
    folder.mkdir()
    write_tensors(folder / WEIGHTS_NAME, model.state_dict(), {"format": "pt"})
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (folder / CONFIG_NAME).write_text(json.dumps({"model_cfg": shape, "preprocess_cfg": preprocess}))
    return folder


def distillation(config: DistillConfig, samples: Path) -> tuple[Distillation, RecordingBatches]:
    teacher = load_teacher(config.teacher)
    labelled = read_labelled_pairs(config.pairs, config.exclude, teacher, 800, Path(config.cache))
    batches = RecordingBatches(labelled, teacher, config.seed, config.clips)
    torch.manual_seed(1)
    return Distillation(Student(config.student), batches, labelled, config, samples), batches


def test_block_ends_learn_alone_at_first(make_config: MakeConfig, tmp_path: Path) -> None:
    """While they do, the deep layers stay as they were and nothing but the teacher's picture counts."""
    config = make_config(tmp_path, guide_steps=3)
    teacher = load_teacher(config.teacher)
    assert isinstance(teacher, LdFusion)
    labelled = read_labelled_pairs(config.pairs, (), teacher, 800, Path(config.cache))
    student = Student(config.student)
    donor = heir_of(teacher, labelled, config.student.scene_channels)
    contexts = torch.stack([pair.context_2hw for pair in labelled])
    guide = Guide(donor, endow(student, donor, contexts))
    batches = BatchMaker(labelled, teacher, config.seed)
    task = Distillation(student, batches, labelled, config, tmp_path, guide)
    for step in range(5):
        student.zero_grad(set_to_none=True)
        loss, parts = task.loss(step)
        loss.backward()  # type: ignore[no-untyped-call]
        moved = {name.split(".")[0] for name, value in student.named_parameters() if value.grad is not None}
        assert ("front" in parts) is (step < 3), step
        assert ("lift" in moved) is (step >= 3), step
        assert {"infrared", "visible", "back", "modulation"} <= moved
    without, _ = distillation(make_config(tmp_path, guide_steps=3), tmp_path)
    assert "front" not in without.loss(0)[1]


@pytest.mark.parametrize("part", ["coarse", "psnr"])
def test_a_part_counts_as_much_as_is_told(part: str, make_config: MakeConfig, tmp_path: Path) -> None:
    plain, _ = distillation(make_config(tmp_path), tmp_path)
    with_part, _ = distillation(make_config(tmp_path, **{f"{part}_weight": 0.25}), tmp_path)
    (without, parts), (loss, more) = plain.loss(0), with_part.loss(0)
    assert more.keys() - parts.keys() == {part}
    assert abs(float(more[part])) > 1e-3
    torch.testing.assert_close(loss, without + 0.25 * more[part])


def test_every_third_batch_is_fresh_and_late_ones_are_large(make_config: MakeConfig, tmp_path: Path) -> None:
    task, batches = distillation(make_config(tmp_path, late_from=0.5, fresh_every=3), tmp_path)
    for step in range(12):
        task.loss(step)
    kinds = ["cached", "cached", "fresh"] * 4
    sizes = [(2, 32)] * 6 + [(1, 48)] * 6
    assert batches.taken == [
        (kind, step, *size) for step, (kind, size) in enumerate(zip(kinds, sizes, strict=True))
    ]
    task, batches = distillation(make_config(tmp_path, fresh_every=2, whole_every=3), tmp_path)
    for step in range(6):
        task.loss(step)
    assert [kind for kind, *_ in batches.taken] == ["cached", "fresh", "whole", "fresh", "cached", "fresh"]
    assert batches.taken[2] == ("whole", 2, 1, 8)
    task, batches = distillation(make_config(tmp_path, fresh_every=0), tmp_path)
    for step in range(12):
        task.loss(step)
    assert {kind for kind, *_ in batches.taken} == {"cached"}


def test_clips_come_before_degraded_and_degraded_before_fresh_ones(
    make_config: MakeConfig, pairs: Path, tmp_path: Path
) -> None:
    day, clip = pairs / "train" / "day", pairs / "train" / "clip"
    for folder in ("ir", "vis"):
        for number in range(2):
            # Nearly still: two grey levels brighter.
            picture_hw = np.minimum(read_picture(day / folder / "a.png"), 250) + np.uint8(2 * number)
            write_picture(clip / folder / f"{number}.png", picture_hw)
    every = {"fresh_every": 2, "degraded_every": 3, "clips_every": 5, "clips": ["clip/"], "late_batch": 2}
    task, batches = distillation(make_config(tmp_path, **every, flicker_weight=0.5), tmp_path)
    plain, _ = distillation(make_config(tmp_path, **every, flicker_weight=0.0), tmp_path)
    for step in range(10):
        (loss, parts), (without, _) = task.loss(step), plain.loss(step)
        is_repeat = batches.taken[step][0] in ("degraded", "neighbours")
        assert ("flicker" in parts) is is_repeat
        flicker = float(parts.get("flicker", torch.zeros(())))
        assert float((loss - without).detach()) == pytest.approx(0.5 * flicker, abs=1e-5)
        assert (flicker > 0.0) is is_repeat
    names = [kind for kind, *_ in batches.taken]
    order = "cached fresh degraded fresh neighbours degraded cached fresh degraded neighbours"
    assert names == order.split()


def test_what_a_rectangle_changes_far_away_counts(make_config: MakeConfig, tmp_path: Path) -> None:
    """The picture with the rectangle has no target; the one without has its own."""
    task, batches = distillation(make_config(tmp_path, patches_every=2, patch_weight=3.0), tmp_path)
    plain, _ = distillation(make_config(tmp_path, patches_every=2, patch_weight=0.0), tmp_path)
    for step in range(4):
        (loss, parts), (without, _) = task.loss(step), plain.loss(step)
        assert ("patch" in parts) is (step % 2 == 1)
        change = float(parts.get("patch", torch.zeros(())))
        assert float((loss - without).detach()) == pytest.approx(3.0 * change, abs=1e-5)
    assert batches.taken[1] == ("patched", 1, 2, 8)


def test_a_student_may_follow_a_text_itself(make_config: MakeConfig, tiny_clip: Path, tmp_path: Path) -> None:
    """Its loss then has the language objective's, which reaches its weights."""
    texts = {
        "clip": {"pretrained": str(tiny_clip), "cache": str(tmp_path / "texts")},
        "objective": {"patches": 2, "patch_min_entropy_bits": 0.0},
    }
    with_text, _ = distillation(make_config(tmp_path, language_weight=0.2, **texts), tmp_path)
    plain, _ = distillation(make_config(tmp_path, **texts), tmp_path)
    loss, parts = with_text.loss(0)
    expected = plain.loss(0)[0] + 0.2 * parts["language"]
    assert float(parts["language"]) > 0.0
    torch.testing.assert_close(loss, expected)
    gradients = []
    for task in (with_text, plain):
        task.student.zero_grad()
        task.loss(0)[0].backward()  # type: ignore[no-untyped-call]
        gradients.append(task.student.back.get_parameter("blend.weight").grad)
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert not torch.allclose(gradients[0], gradients[1])
    # The same step again has the same patches.
    torch.testing.assert_close(with_text.loss(0)[0], loss, rtol=0, atol=0)
    model_dir = distil(make_config(tmp_path / "run", steps=3, guide_steps=1, language_weight=0.2, **texts))
    assert "loss_language" in log_rows(tmp_path / "run")[-1]
    stored = load_manifest(model_dir).provenance["config"]
    assert isinstance(stored, dict)
    assert stored["language_weight"] == 0.2


def test_the_last_tenth_is_fp32(make_config: MakeConfig, tmp_path: Path) -> None:
    lower, _ = distillation(make_config(tmp_path, steps=20, precision="bf16"), tmp_path)
    full, _ = distillation(make_config(tmp_path, steps=20, precision="fp32"), tmp_path)
    with torch.no_grad():
        is_equal = [torch.equal(lower.loss(step)[0], full.loss(step)[0]) for step in range(20)]
    assert is_equal == [False] * 18 + [True] * 2
