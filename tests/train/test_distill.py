"""Whole runs: what they leave behind, what decides it, and what they refuse."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from irvis_runtime.contract import load_manifest
from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_picture
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_runtime.scenes import write_pairs
from irvis_train.config import DistillConfig
from irvis_train.data import as_tensor
from irvis_train.distill import distil
from irvis_train.student_files import StudentAsTeacher, load_student
from irvis_train.teacher import load_teacher

from .runs import log_rows, weights

MakeConfig = Callable[..., DistillConfig]


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


def test_a_pair_to_judge_by_must_not_be_trained_on(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    with pytest.raises(
        ContractError, match=r"night/c: the same pictures are in pairs \(night/c\) and in val"
    ) as info:
        distil(
            make_config(tmp_path / "run", val_pairs=[*config.pairs, *config.val_pairs], val_exclude=["day"])
        )
    assert "\n" not in str(info.value)


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
