"""A teacher, pairs and a run that are small enough to be trained in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from irvis_runtime.config import from_mapping
from irvis_runtime.image import write_picture
from irvis_train.config import DistillConfig
from irvis_train.ldfusion import LdFusion, LdFusionShape
from irvis_train.teacher import convert_teacher

MakeConfig = Callable[..., DistillConfig]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small for threads, and the machine may be busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def teacher() -> LdFusion:
    """A frozen teacher with random weights, as narrow as one that a student can start from."""
    torch.manual_seed(3)
    return LdFusion(LdFusionShape(width=4, style=False)).eval().requires_grad_(False)


@pytest.fixture
def teacher_file(teacher: LdFusion, tmp_path: Path) -> Path:
    """The same as a file that `load_teacher` takes."""
    torch.save(teacher.state_dict(), tmp_path / "final.pt")
    convert_teacher(tmp_path / "final.pt", tmp_path / "teacher.safetensors")
    return tmp_path / "teacher.safetensors"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder with three pairs to train on, in train/, and two to choose on, in val/; some sizes are odd."""
    sizes_hw = {
        "train/day/{}/a.png": (48, 64),
        "train/day/{}/b.png": (40, 33),
        "train/night/{}/c.png": (70, 50),
    }
    sizes_hw |= {"val/{}/d.png": (48, 48), "val/{}/e.png": (37, 51)}
    for seed, (name, size_hw) in enumerate(sizes_hw.items()):
        for folder, picture in zip(("ir", "vis"), smooth_pictures(size_hw, seed), strict=True):
            write_picture(tmp_path / name.format(folder), picture)
    return tmp_path


@pytest.fixture
def make_config(teacher_file: Path, pairs: Path) -> MakeConfig:
    """Returns a run's configuration, twelve steps long unless told otherwise, whose folder is `output`."""

    def make(output: Path, **changes: Any) -> DistillConfig:
        values: dict[str, Any] = {
            "teacher": str(teacher_file),
            "pairs": [str(pairs / "train")],
            "val_pairs": [str(pairs / "val")],
            "output": str(output),
            "cache": str(pairs / "cache"),
            "name": "tiny",
            "student": {
                "front_channels": 16,
                "deep_channels": 32,
                "lift_channels": 16,
                "back_channels": 16,
                "scene_channels": 16,
            },
            "steps": 12,
            "batch": 2,
            "crop_px": 32,
            "late_batch": 1,
            "late_crop_px": 48,
            "guide_steps": 3,
            "warmup_steps": 2,
            "validate_every": 5,
            "checkpoint_every": 4,
            "threads": 1,
            "device": "cpu",
        }
        return from_mapping(DistillConfig, values | changes, "test")

    return make


def smooth_pictures(size_hw: tuple[int, int], seed: int) -> list[NDArray[np.uint8]]:
    """An infrared and a visible picture: a ramp each, with blurred noise."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    rows, columns = np.mgrid[0:height, 0:width]
    ramps = (rows / height, columns / width)
    noises = [cv2.GaussianBlur(rng.normal(0, 300, size_hw), (0, 0), 3) for _ in ramps]
    return [
        np.clip(40 + 150 * ramp + noise, 0, 255).astype(np.uint8)
        for ramp, noise in zip(ramps, noises, strict=True)
    ]
