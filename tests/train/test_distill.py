from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import nn

from irvis_runtime.contract import load_manifest
from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture, write_picture
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_runtime.scenes import write_pairs
from irvis_train.batches import Batch, BatchMaker
from irvis_train.clip_files import CONFIG_NAME, WEIGHTS_NAME
from irvis_train.config import DistillConfig
from irvis_train.data import LabelledPair, as_tensor, read_labelled_pairs
from irvis_train.distill import Distillation, distil
from irvis_train.endow import Guide, endow
from irvis_train.inherit import heir_of
from irvis_train.ldfusion import LdFusion
from irvis_train.student import Student
from irvis_train.student_files import StudentAsTeacher, load_student
from irvis_train.teacher import load_teacher
from irvis_train.tensor_files import write_tensors

MakeConfig = Callable[..., DistillConfig]


def log_rows(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


def weights(model_dir: Path) -> bytes:
    return (model_dir / "student.safetensors").read_bytes()


def test_a_student_comes_nearer_to_its_teacher_on_scenes(make_config: MakeConfig, tmp_path: Path) -> None:
    write_pairs(tmp_path / "scenes" / "train", 3, (64, 80), seed=1)
    write_pairs(tmp_path / "scenes" / "val", 2, (48, 72), seed=11)
    folders = {"pairs": [str(tmp_path / "scenes" / "train")], "val_pairs": [str(tmp_path / "scenes" / "val")]}
    numbers = {"steps": 80, "validate_every": 10, "batch": 3, "learning_rate": 5e-3}
    model_dir = distil(make_config(tmp_path / "run", start="nothing", **folders, **numbers))
    rows = log_rows(tmp_path / "run")
    assert [row["step"] for row in rows] == list(range(10, 90, 10))
    assert rows[-1]["psnr_db"] > rows[0]["psnr_db"] + 1.0
    assert rows[-1]["loss_l1"] < 0.8 * rows[0]["loss_l1"]
    assert all(row["worst_psnr_db"] <= row["psnr_db"] for row in rows)
    assert model_dir == tmp_path / "run" / "tiny"
    assert load_manifest(model_dir).provenance["trained_on_pairs"] == {".": 3}


def test_the_model_directory_says_what_was_done(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    model_dir = distil(config)
    manifest = load_manifest(model_dir)
    row = log_rows(tmp_path / "run")[-1]
    validation = manifest.measured["validation"]
    assert isinstance(validation, dict)
    assert validation == {name: round(row[name], 4) for name in ("psnr_db", "worst_psnr_db", "ssim")}
    assert manifest.provenance["trained_on_pairs"] == {"day": 2, "night": 1}
    assert manifest.provenance["teacher"] == config.teacher
    assert load_student(model_dir).shape == config.student


def test_the_measured_fidelity_is_that_of_the_student_as_it_is_run(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run")
    student = StudentAsTeacher(load_student(distil(config)))
    teacher = load_teacher(config.teacher)
    psnr_db = []
    for pair in find_dataset_pairs(Path(config.val_pairs[0])):
        infrared, visible = (as_tensor(picture) for picture in read_pair(pair))
        with torch.no_grad():
            fused = np.rint(student(infrared, visible).numpy() * 255.0)
            error = fused - teacher(infrared, visible).numpy() * 255.0
        psnr_db.append(10.0 * np.log10(255.0**2 / np.mean(error**2)))
    row = log_rows(tmp_path / "run")[-1]
    assert row["psnr_db"] == pytest.approx(np.mean(psnr_db), abs=0.02)
    assert row["worst_psnr_db"] == pytest.approx(np.min(psnr_db), abs=0.02)


def test_samples_show_infrared_visible_teacher_and_student(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    distil(config)
    samples = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert samples == [f"{step:06d}-{index:02d}.jpg" for step in (5, 10, 12) for index in (0, 1)]
    for index, pair in enumerate(find_dataset_pairs(Path(config.val_pairs[0]))):
        infrared_hw, visible_hw = read_pair(pair)
        sample = read_picture(tmp_path / "run" / "samples" / f"000012-{index:02d}.jpg").astype(float)
        height, width = visible_hw.shape
        assert sample.shape == (height, 4 * width)
        for column, picture_hw in enumerate((infrared_hw, visible_hw)):
            shown = sample[:, column * width : (column + 1) * width]
            assert np.abs(shown - picture_hw).mean() < 3.0


def test_the_seed_decides_the_weights_to_the_bit(make_config: MakeConfig, tmp_path: Path) -> None:
    first = distil(make_config(tmp_path / "a", seed=1))
    torch.manual_seed(99)
    assert weights(distil(make_config(tmp_path / "b", seed=1))) == weights(first)
    assert weights(distil(make_config(tmp_path / "c", seed=2))) != weights(first)


def test_validating_and_saving_more_often_changes_no_weight(make_config: MakeConfig, tmp_path: Path) -> None:
    often = distil(make_config(tmp_path / "a", validate_every=1, checkpoint_every=1))
    rarely = distil(make_config(tmp_path / "b", validate_every=99, checkpoint_every=99))
    assert weights(often) == weights(rarely)


def test_a_run_goes_on_where_pictures_and_teacher_have_moved(
    make_config: MakeConfig, pairs: Path, tmp_path: Path
) -> None:
    first = weights(distil(make_config(tmp_path / "run")))
    shutil.move(pairs / "train", tmp_path / "elsewhere")
    shutil.move(tmp_path / "teacher.safetensors", tmp_path / "moved.safetensors")
    moved = {"pairs": [str(tmp_path / "elsewhere")], "teacher": str(tmp_path / "moved.safetensors")}
    assert weights(distil(make_config(tmp_path / "run", **moved, cache=str(tmp_path / "other")))) == first
    (tmp_path / "elsewhere" / "night" / "ir" / "c.png").rename(
        tmp_path / "elsewhere" / "night" / "ir" / "x.png"
    )
    (tmp_path / "elsewhere" / "night" / "vis" / "c.png").rename(
        tmp_path / "elsewhere" / "night" / "vis" / "x.png"
    )
    with pytest.raises(ContractError, match="made with another configuration"):
        distil(make_config(tmp_path / "run", **moved))


def test_a_run_does_not_go_on_with_other_numbers(make_config: MakeConfig, tmp_path: Path) -> None:
    distil(make_config(tmp_path / "run", steps=2))
    changes: list[dict[str, object]] = [
        {"learning_rate": 1e-3},
        {"steps": 3},
        {"seed": 2},
        {"exclude": ["night"]},
        {"guide_steps": 1},
        {"start": "nothing"},
    ]
    for change in changes:
        with pytest.raises(ContractError, match="made with another configuration"):
            distil(make_config(tmp_path / "run", **({"steps": 2} | change)))


def test_another_teacher_is_another_run(make_config: MakeConfig, tmp_path: Path) -> None:
    model_dir = distil(make_config(tmp_path / "run", steps=2, start="nothing"))
    with pytest.raises(ContractError, match="made with another configuration"):
        distil(make_config(tmp_path / "run", steps=2, start="nothing", teacher=str(model_dir)))


def test_a_student_may_teach_the_next_one(make_config: MakeConfig, tmp_path: Path) -> None:
    first = distil(make_config(tmp_path / "a", steps=4))
    second = distil(make_config(tmp_path / "b", steps=4, teacher=str(first), start="nothing"))
    assert load_manifest(second).provenance["teacher"] == str(first)
    with pytest.raises(
        ContractError, match="start: expected a teacher of the published topology, got a st"
    ) as info:
        distil(make_config(tmp_path / "c", steps=4, teacher=str(first)))
    assert "\n" not in str(info.value)


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


def test_a_pair_to_judge_by_must_not_be_trained_on(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    with pytest.raises(
        ContractError, match=r"night/c: the same pictures are in pairs \(night/c\) and in val"
    ) as info:
        distil(
            make_config(tmp_path / "run", val_pairs=[*config.pairs, *config.val_pairs], val_exclude=["day"])
        )
    assert "\n" not in str(info.value)


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


def test_every_third_batch_is_fresh_and_late_ones_are_large(make_config: MakeConfig, tmp_path: Path) -> None:
    task, batches = distillation(make_config(tmp_path, late_from=0.5, fresh_every=3), tmp_path)
    for step in range(12):
        task.loss(step)
    kinds = ["cached", "cached", "fresh"] * 4
    sizes = [(2, 32)] * 6 + [(1, 48)] * 6
    assert batches.taken == [
        (kind, step, *size) for step, (kind, size) in enumerate(zip(kinds, sizes, strict=True))
    ]
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


def test_what_cannot_work_is_told_before_anything_is_labelled(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(
        ContractError, match=r"device: expected one of auto, cpu.* on this machine, got 'gpu'"
    ):
        distil(make_config(tmp_path / "run", device="gpu"))
    with pytest.raises(ContractError, match=r"none\.pt: does not exist"):
        distil(make_config(tmp_path / "run", teacher=str(tmp_path / "none.pt")))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="exists"):
        distil(make_config(tmp_path / "file"))
    assert not (tmp_path / "cache").exists()
