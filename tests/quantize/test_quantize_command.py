"""`irvis quantize` from end to end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from irvis_quantize import plans
from irvis_runtime import Fuser
from irvis_runtime.__main__ import main as irvis
from irvis_runtime.contract import load_manifest, sha256_of
from irvis_runtime.image import read_visible
from irvis_runtime.model_files.calibration_file import load_calibration

Arguments = tuple[str, ...]
Words = Callable[..., list[str]]


@pytest.fixture(scope="module")
def done(
    words: Words, lenient: Arguments, exported_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model directory after the whole command, with what it measured in measured.json beside it."""
    folder = tmp_path_factory.mktemp("done")
    model_dir = Path(shutil.copytree(exported_dir, folder / "tiny"))
    assert irvis(words(model_dir, *lenient, "--json", str(folder / "measured.json"))) == 0
    return model_dir


def test_both_files_enter_the_manifest_and_run(done: Path, tolerances: Mapping[str, float]) -> None:
    manifest = load_manifest(done)
    assert set(manifest.files) == {"fp32", "int8", "fp16"}
    assert manifest.files["int8"].opset == 17
    assert manifest.files["fp16"].opset == 19
    picture = np.random.default_rng(0).integers(90, 160, (40, 50), dtype=np.uint8)
    pictures = {}
    for precision in manifest.files:
        with Fuser(done, precision) as fuser:
            pictures[precision] = fuser.fuse(picture, picture).astype(np.int16)
    assert np.abs(pictures["fp16"] - pictures["fp32"]).max() <= tolerances["fp16_max_lsb"]
    assert np.abs(pictures["int8"] - pictures["fp32"]).mean() < 5


def test_manifest_keeps_what_the_gate_saw(done: Path) -> None:
    measured = load_manifest(done).measured
    told = json.loads((done.parent / "measured.json").read_text())
    for precision in ("int8", "fp16"):
        entry = measured[precision]
        assert isinstance(entry, dict)
        assert entry["passed"] is True
        assert entry["held_out"]["pairs"] == 2
        assert entry["held_out"]["agreement_psnr_db"] == round(told[precision]["agreement_psnr_db"], 3)
    fp32 = measured["fp32"]
    assert isinstance(fp32, dict)
    assert "parity_with_torch" in fp32


def test_calibration_says_what_was_chosen(done: Path) -> None:
    told = load_calibration(done / "calibration.json")
    assert told.method == min(told.held_out_error, key=lambda name: told.held_out_error[name])
    assert told.calibration_pairs == ("pair0", "pair1", "pair3", "pair4")
    assert told.held_out_pairs == ("pair2", "pair5")
    assert told.weights == ("nearest" if told.method == "descent, nearest" else "compensated")
    agreement = told.equalized_agreement_db
    assert told.equalized == max(agreement, key=lambda scope: agreement[scope])
    assert told.command.startswith("irvis quantize ")
    assert told.pictures == ()
    assert list(told.precisions) == ["int8", "fp16"]
    int8 = told.precisions["int8"]
    assert int8.sha256 == load_manifest(done).files["int8"].sha256
    assert len(int8.levels) == len(told.descent)
    for entry in int8.levels:
        assert entry.low <= 0 <= entry.high
        assert 0 <= entry.clipped_share <= 1
        assert entry.scale == pytest.approx((entry.high - entry.low) / 255, rel=1e-4)
    assert len(int8.layers) > 5
    assert {layer.takes for layer in int8.layers} <= {entry.tensor for entry in int8.levels}
    assert {layer.name for layer in int8.layers if layer.precision == "fp32"} == set(int8.moved)
    assert told.precisions["fp16"].layers == ()


def test_calibration_names_the_worst_pixel(done: Path, pairs_dir: Path) -> None:
    """As the file that was written shows it."""
    worst = load_calibration(done / "calibration.json").precisions["int8"].worst_pixel
    infrared, visible = (
        read_visible(pairs_dir / kind / f"{worst.pair}.png").luma_hw for kind in ("ir", "vis")
    )
    for precision, expected in (("fp32", worst.fp32), ("int8", worst.quantized)):
        with Fuser(done, precision) as fuser:
            assert fuser.fuse(infrared, visible)[worst.row, worst.column] == expected


def test_nothing_else_is_left(done: Path) -> None:
    assert sorted(path.name for path in done.iterdir()) == [
        "calibration.json",
        "manifest.json",
        "model.fp16.onnx",
        "model.int8.onnx",
        "model.onnx",
        "student.safetensors",
    ]


@pytest.mark.slow
def test_files_for_tensorrt_are_made_where_they_are_asked_for(
    words: Words, lenient: Arguments, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone; what was there of other precisions stays, and no ranges for ONNX Runtime's INT8 are searched."""
    monkeypatch.setattr(plans, "choose_ranges", None)
    before = load_manifest(model_dir).files
    asked = words(model_dir, "--precisions", "int8-trt,int8-fp16-trt", "--pictures", *lenient)
    assert irvis(asked) == 0
    after = load_manifest(model_dir).files
    assert set(after) == {*before, "int8-trt", "int8-fp16-trt"}
    assert (after["int8-trt"].opset, after["int8-fp16-trt"].opset) == (17, 19)
    assert after["int8-trt"].sha256 == sha256_of(model_dir / "model.int8-trt.onnx")
    told = load_calibration(model_dir / "calibration.json")
    assert told.precisions["int8-trt"].moved == told.precisions["int8-fp16-trt"].moved
    for pictures in told.pictures:
        for name in pictures.files.values():
            assert (model_dir / name).is_file()
