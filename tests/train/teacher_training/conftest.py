"""A tiny CLIP of open_clip's own classes, with random weights, and tiny runs that it judges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from irvis_runtime.config import from_mapping
from irvis_train.clip import load_clip
from irvis_train.ranks import Ranks
from irvis_train.teacher_config import TeacherConfig
from irvis_train.teacher_data import read_training_pairs
from irvis_train.teacher_training import LanguageTraining, make_network

MakeTeacherConfig = Callable[..., TeacherConfig]
MakeTask = Callable[[TeacherConfig], LanguageTraining]


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    """A vision transformer and a text tower, as small as open_clip builds them."""
    shape = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
        "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    torch.manual_seed(5)
    model = open_clip.CLIP(**shape)
    folder = tmp_path / "clip"
    folder.mkdir()
    preprocess = {"mean": [0.5] * 3, "std": [0.25] * 3}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": shape, "preprocess_cfg": preprocess})
    )
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def make_teacher_config(clip_folder: Path, pairs: Path) -> MakeTeacherConfig:
    """Returns a run's configuration, five steps long unless told otherwise, whose folder is `output`."""

    def make(output: Path, **changes: Any) -> TeacherConfig:
        values: dict[str, Any] = {
            "pairs": [str(pairs / "train")],
            "val_pairs": [str(pairs / "val")],
            "output": str(output),
            "width": 2,
            "style": False,
            "clip": {"pretrained": str(clip_folder), "cache": str(pairs / "texts")},
            "objective": {"patches": 3, "patch_min_entropy_bits": 2.0, "salient_share": 0.34},
            "gradient_weight": 1.0,
            "ema_decay": 0.9,
            "steps": 5,
            "batch": 4,
            "crop_px": 24,
            "warmup_steps": 1,
            "log_every": 1,
            "samples_every": 3,
            "sample_count": 2,
            "checkpoint_every": 2,
            "threads": 1,
            "device": "cpu",
        }
        return from_mapping(TeacherConfig, values | changes, "test")

    return make


@pytest.fixture
def make_task() -> MakeTask:
    """Returns the task of a configuration, as one process has it."""

    def make(config: TeacherConfig) -> LanguageTraining:
        clip = load_clip(config.clip, torch.device("cpu"))
        pairs = read_training_pairs(config.pairs, config.exclude, config.longest_side_px)
        return LanguageTraining(make_network(config), clip, pairs, [], config, Ranks())

    return make
