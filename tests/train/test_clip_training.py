from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from irvis_runtime.config import from_mapping
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_train.captioned import Captioned, CaptionedMaker
from irvis_train.captions import MEANINGS, OBJECTIVE, canonical
from irvis_train.clip import ClipConfig, load_clip
from irvis_train.clip_config import ClipTrainingConfig
from irvis_train.clip_training import train_clip
from irvis_train.ldfusion import LdFusion, LdFusionShape

HEIGHT_WIDTH = (96, 112)


def write_scenes(folder: Path, count: int, seed: int) -> None:
    """Pairs with texture in the visible picture and two warm squares in the infrared one."""
    for number in range(seed, seed + count):
        random = np.random.default_rng(number)
        visible = cv2.GaussianBlur(random.uniform(0, 255, HEIGHT_WIDTH).astype(np.float32), (0, 0), 1.5)
        visible = visible + 6.0 * (cv2.GaussianBlur(visible, (0, 0), 8) - 128.0)
        infrared = 70.0 + 0.2 * (visible - visible.mean())
        for _ in range(2):
            top, left = random.integers(10, 70, size=2)
            infrared[top : top + 18, left : left + 14] = 220.0
        for sensor, picture in (("ir", infrared), ("vis", visible)):
            write_picture(folder / sensor / f"{number}.png", picture.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated pairs in train/ and val/, and a teacher with random weights, its contrast raised."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(3)
    tensors = LdFusion(LdFusionShape(width=2, style=False)).state_dict()
    last = [name for name in tensors if name.endswith("weight")][-1]
    torch.save({**tensors, last: 4.0 * tensors[last]}, folder / "final.pt")
    write_scenes(folder / "train", 6, seed=3)
    write_scenes(folder / "val", 2, seed=14)
    return folder


def make_config(folder: Path, output: Path, **changes: Any) -> ClipTrainingConfig:
    values: dict[str, Any] = {
        "teacher": str(folder / "final.pt"),
        "pairs": [str(folder / "train")],
        "val_pairs": [str(folder / "val")],
        "output": str(output),
        "cache": str(folder / "cache"),
        "shape": {"picture_px": 64, "width": 8, "layers": [1, 1, 1, 1], "embedding": 48, "text_layers": 1},
        "steps": 40,
        "groups": 1,
        "learning_rate": 4e-3,
        "warmup_steps": 5,
        "average": 0.0,
        "attack_from": 0.6,
        "precision": "fp32",
        "validate_every": 20,
        "checkpoint_every": 10,
        "threads": 1,
        "device": "cpu",
    }
    return from_mapping(ClipTrainingConfig, values | changes, "test")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    torch.set_num_threads(1)
    return train_clip(make_config(folder, folder / "run"))


def log_rows(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


def test_a_few_seconds_of_training_beat_chance(trained: Path) -> None:
    report = json.loads((trained / "evaluation.json").read_text())
    assert report["chance"] == pytest.approx(1 / len(MEANINGS))
    assert report["retrieval"]["top1_canonical"] > 3 * report["chance"]
    assert report["retrieval"]["top1_unseen"] > 2 * report["chance"]
    assert report["retrieval"]["modality"] > 0.5
    rows = log_rows(trained.parent)
    assert [row["step"] for row in rows] == [20, 40]
    assert rows[-1]["loss_clip"] < 3.2
    last = {name: rows[-1][name] for name in report["retrieval"]}
    assert last == pytest.approx(report["retrieval"], abs=1e-5)


def test_the_report_says_what_made_it(trained: Path, folder: Path) -> None:
    report = json.loads((trained / "evaluation.json").read_text())
    assert report["training"]["config"]["seed"] == 1
    assert report["training"]["seconds"] > 0.0
    assert len(report["training"]["pairs"]) == 6
    assert {"salient", "checkerboard", "thermal"} <= set(report["training"]["words"])
    text = (trained / "evaluation.md").read_text()
    assert "chance 3.3%" in text
    assert "| fused checkerboard |" in text


def test_open_clip_and_load_clip_load_the_folder(trained: Path, tmp_path: Path) -> None:
    """Both give the embeddings that the trained weights give."""
    model = open_clip.create_model(f"local-dir:{trained}", require_pretrained=True).eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{trained}")
    assert tokenizer.context_length == 32
    towers = load_clip(
        ClipConfig(pretrained=str(trained), cache=str(tmp_path / "texts")), torch.device("cpu")
    )
    assert towers.picture_px == 64
    pictures = torch.rand((2, 1, 64, 64), generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(model.visual.preprocess_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        seen = model.encode_image((pictures.expand(-1, 3, -1, -1) - mean) / std)
        said = model.encode_text(tokenizer([canonical(OBJECTIVE)]))
    torch.testing.assert_close(towers.encode_pictures(pictures), seen, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(towers.encode_texts([canonical(OBJECTIVE)]), said, rtol=1e-4, atol=1e-4)
    assert float(mean[0, 0]) == pytest.approx(0.45)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(trained: Path, folder: Path, tmp_path: Path) -> None:
    """The first sitting ends between two checkpoints."""
    config = make_config(folder, tmp_path / "run")
    whole = CaptionedMaker.batch

    def stopped(self: CaptionedMaker, step: int, groups: int) -> Captioned:
        if step == 15:
            raise KeyboardInterrupt
        return whole(self, step, groups)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CaptionedMaker, "batch", stopped)
        with pytest.raises(KeyboardInterrupt):
            train_clip(config)
    resumed = train_clip(config)
    expected = load_file(trained / "open_clip_model.safetensors")
    for name, tensor in load_file(resumed / "open_clip_model.safetensors").items():
        assert torch.equal(tensor, expected[name]), name
    with pytest.raises(ContractError, match="made with another configuration"):
        train_clip(make_config(folder, tmp_path / "run", attack_levels=1.0))


def test_pairs_without_hot_targets_are_refused(folder: Path, tmp_path: Path) -> None:
    for sensor in ("ir", "vis"):
        write_picture(tmp_path / "flat" / sensor / "a.png", np.full((64, 64), 80, np.uint8))
    with pytest.raises(ContractError, match=r"val_pairs: expected hot targets, found none in 1 pairs"):
        train_clip(make_config(folder, tmp_path / "run", val_pairs=[str(tmp_path / "flat")]))


def test_the_texts_of_one_meaning_lie_together(trained: Path, tmp_path: Path) -> None:
    towers = load_clip(
        ClipConfig(pretrained=str(trained), cache=str(tmp_path / "texts")), torch.device("cpu")
    )
    texts = F.normalize(
        towers.encode_texts(["an infrared image", "a thermal picture", "a visible gray image"]), dim=-1
    )
    assert float(texts[0] @ texts[1]) > float(texts[0] @ texts[2])
