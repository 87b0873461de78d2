from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import torch

import irvis_runtime
from irvis_runtime.config import from_mapping
from irvis_runtime.contract import checked_weights_path, load_manifest
from irvis_train.config import DistillConfig
from irvis_train.model_dir import write_model_dir
from irvis_train.student import Student
from irvis_train.student_files import load_student

RESULT = {"psnr_db": 25.123456, "ssim": 0.87654321, "seconds": 12.6}


@pytest.fixture
def config(make_config: Callable[..., DistillConfig], tmp_path: Path) -> DistillConfig:
    return make_config(tmp_path / "run")


def test_the_model_directory_holds_the_weights_and_how_they_were_made(
    config: DistillConfig, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    student = Student(config.student)
    names = ["FMB/day/1", "FMB/night/2", "RoadScene/3", "4"]
    folder = write_model_dir(tmp_path / "models" / "tiny", student, config, names, "3" * 40, RESULT)
    manifest = load_manifest(folder)
    assert (manifest.name, manifest.multiple, dict(manifest.files)) == (
        "tiny",
        config.student.multiple_px,
        {},
    )
    assert checked_weights_path(folder, manifest) == folder / "student.safetensors"
    assert torch.equal(
        load_student(folder).get_parameter("lift.weight"), student.get_parameter("lift.weight")
    )
    assert manifest.measured == {"validation": {"psnr_db": 25.1235, "ssim": 0.8765}}
    provenance = manifest.provenance
    assert provenance["teacher"] == config.teacher
    assert provenance["trained_on_pairs"] == {"FMB": 2, "RoadScene": 1, ".": 1}
    assert provenance["seconds"] == 13
    stored = provenance["config"]
    assert isinstance(stored, dict)
    # The machine's own fields say nothing of the weights.
    machine = {"cache": config.cache, "threads": config.threads, "device": config.device}
    assert not machine.keys() & stored.keys()
    assert from_mapping(DistillConfig, stored | machine, "stored") == config
    assert provenance["commit"] == "3" * 40
    made = datetime.fromisoformat(str(provenance["date"]))
    assert timedelta(0) <= datetime.now(timezone.utc) - made < timedelta(minutes=5)
    versions = provenance["versions"]
    assert isinstance(versions, dict)
    assert versions["irvis"] == irvis_runtime.__version__
    assert versions["torch"] == str(torch.__version__)


def test_writing_again_replaces_weights_and_manifest(config: DistillConfig, tmp_path: Path) -> None:
    for seed in (1, 2):
        torch.manual_seed(seed)
        student = Student(config.student)
        write_model_dir(tmp_path / "tiny", student, config, ["a"], "unknown", RESULT)
    assert torch.equal(
        load_student(tmp_path / "tiny").get_parameter("lift.weight"), student.get_parameter("lift.weight")
    )
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == [
        "manifest.json",
        "student.safetensors",
    ]
