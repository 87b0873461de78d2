from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from irvis_quantize import plans, run
from irvis_quantize.examples import read_examples
from irvis_quantize.gate import Limits
from irvis_quantize.int8 import quantize
from irvis_quantize.range import Range
from irvis_quantize.rounding import round_weights
from irvis_quantize.trt import plan_trt, to_trt
from irvis_quantize.weights import Rounded
from irvis_runtime import Fuser
from irvis_runtime.__main__ import main as irvis
from irvis_runtime.contract import ModelFile, load_manifest, save_manifest, sha256_of
from irvis_runtime.image import read_visible
from irvis_runtime.model_files.calibration_file import load_calibration

# Weights made at random lose more than trained ones.
LENIENT = ("--max-drop-db", "5", "--min-mean-agreement-db", "20")


def words(model_dir: Path, pairs_dir: Path, *more: str) -> list[str]:
    teacher = str(pairs_dir / "taught")
    return ["quantize", str(model_dir), "--pairs", str(pairs_dir), "--teacher", teacher, *more]


@pytest.fixture(scope="module")
def done(exported_dir: Path, pairs_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory after the whole command, with what it measured in measured.json beside it."""
    folder = tmp_path_factory.mktemp("done")
    model_dir = Path(shutil.copytree(exported_dir, folder / "tiny"))
    assert irvis(words(model_dir, pairs_dir, *LENIENT, "--json", str(folder / "measured.json"))) == 0
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


def test_files_for_tensorrt_are_made_where_they_are_asked_for(
    model_dir: Path, pairs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone; what was there of other precisions stays, and no ranges for ONNX Runtime's INT8 are searched."""
    monkeypatch.setattr(plans, "choose_ranges", None)
    before = load_manifest(model_dir).files
    asked = words(model_dir, pairs_dir, "--precisions", "int8-trt,int8-fp16-trt", "--pictures", *LENIENT)
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


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_run_changes_nothing(
    model_dir: Path, pairs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest moment: all files are made, and the last is being checked."""
    before, checked = contents(model_dir), []

    def interrupted(path: Path, *rest: object) -> None:
        checked.append(path)
        if len(checked) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    monkeypatch.setattr(run, "check_onnx", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.quantize_model_dir(
            model_dir,
            read_examples(pairs_dir, pairs_dir / "taught", 6),
            Limits(5.0, 20.0, 0.0),
            run.Options(("int8", "fp16")),
        )
    assert contents(model_dir) == before


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("quantized", "expected a graph of floats, got DequantizeLinear: it is quantized already"),
        ("unknown", "got the operator 'Frobnicate'"),
        ("empty", "expected convolutions that see the pictures, got none to quantize"),
    ],
)
def test_a_graph_that_cannot_be_quantized(
    operator: str, expected: str, model_dir: Path, pairs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model_dir / "model.onnx"
    model = onnx.load(path)
    if operator == "quantized":
        inputs = [read_examples(pairs_dir, pairs_dir / "taught", 3)[0].inputs]
        model = to_trt(plan_trt(model, inputs, inputs, round_weights(model, inputs)))
    elif operator == "unknown":
        relu = next(node for node in model.graph.node if node.op_type == "Relu")
        relu.op_type = "Frobnicate"
    else:
        fused = onnx.helper.make_node("Max", ["infrared", "visible"], ["fused"])
        ends = list(model.graph.input), list(model.graph.output)
        model.graph.CopyFrom(onnx.helper.make_graph([fused], "g", *ends))
    onnx.save(model, path)
    manifest = load_manifest(model_dir)
    files = {"fp32": ModelFile(path.name, sha256_of(path), 17)}
    save_manifest(model_dir, replace(manifest, files=files))
    before = contents(model_dir)
    capsys.readouterr()
    assert irvis(words(model_dir, pairs_dir)) == 2
    error = capsys.readouterr().err
    assert error.startswith("irvis: error: ")
    assert error.count("\n") == 1
    assert expected in error
    assert contents(model_dir) == before


def test_a_machine_without_fast_int8_is_told_what_it_costs(
    model_dir: Path, pairs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    monkeypatch.setattr("irvis_quantize.__main__.has_fast_int8", lambda: False)
    assert irvis(words(model_dir, pairs_dir, "--precisions", "int8", *LENIENT)) == 0
    assert re.search(
        r"no dot products of bytes .* INT8 takes \d+\.\d\d of FP32's time", capsys.readouterr().err
    )


def ruin(
    model: ModelProto,
    ranges: Mapping[str, Range],
    rounded: Mapping[str, Rounded],
    kept: Collection[str],
) -> ModelProto:
    return quantize(model, {name: Range(-0.05, 0.05) for name in ranges})


def test_a_ruined_quantization_is_refused(
    model_dir: Path, pairs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    monkeypatch.setattr(plans, "quantize", ruin)
    assert irvis(words(model_dir, pairs_dir)) == 1
    output = capsys.readouterr().out
    assert "int8: " in output
    assert "refused: PSNR to the teacher falls by" in output
    assert "fp16: " in output
    manifest = load_manifest(model_dir)
    assert set(manifest.files) == {"fp32", "fp16"}
    assert not (model_dir / "model.int8.onnx").exists()
    entry = manifest.measured["int8"]
    assert isinstance(entry, dict)
    assert entry["passed"] is False


def test_an_older_file_of_a_refused_precision_leaves_the_manifest(
    model_dir: Path, pairs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = model_dir / "model.int8.onnx"
    older.write_bytes((model_dir / "model.onnx").read_bytes())
    manifest = load_manifest(model_dir)
    files = {**manifest.files, "int8": ModelFile(older.name, sha256_of(older), 17)}
    save_manifest(model_dir, replace(manifest, files=files))
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    monkeypatch.setattr(plans, "quantize", ruin)
    assert irvis(words(model_dir, pairs_dir)) == 1
    assert set(load_manifest(model_dir).files) == {"fp32", "fp16"}


def test_a_limit_of_the_users_own(
    model_dir: Path, pairs_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    assert irvis(words(model_dir, pairs_dir, "--min-agreement-db", "99")) == 1
    assert "asked for are 99.0" in capsys.readouterr().out
    assert set(load_manifest(model_dir).files) == {"fp32"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--count", "2"], "--count: expected 3 or more, got 2"),
        (["--count", "-7"], "--count: expected 3 or more, got -7"),
        (["--count", "many"], "argument --count: invalid int value: 'many'"),
        (
            ["--precisions", "int8,int4"],
            "--precisions: expected some of int8, fp16, int8-trt, int8-fp16-trt, got 'int4'",
        ),
        (["--most-moved", "-1"], "--most-moved: expected 0 or more, got -1"),
        (["--max-drop-db", "nan"], "--max-drop-db: expected a number of dB, got nan"),
        (["--min-agreement-db", "inf"], "--min-agreement-db: expected a number of dB, got inf"),
        (["--teacher", "no-such.onnx"], "no-such.onnx: expected a teacher"),
        (["--teacher", "."], "expected the teacher's fused pictures or a manifest.json, found neither"),
        (["--pairs", "no-such-folder"], "no-such-folder"),
        (["--exclude", "pair"], "got 0 after --exclude"),
        (["--frobnicate"], "--help"),
    ],
)
def test_wrong_arguments_are_one_line(
    more: list[str],
    expected: str,
    exported_dir: Path,
    pairs_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in exported_dir.iterdir()}
    assert irvis(words(exported_dir, pairs_dir, *more)) == 2
    text = capsys.readouterr().err
    assert text.startswith("irvis: error: ")
    assert text.count("\n") == 1
    assert expected in text
    assert {path.name: path.read_bytes() for path in exported_dir.iterdir()} == before


def test_wrong_model_is_told_before_the_pairs_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "no-pairs")
    model = tmp_path / "no-model"
    assert irvis(["quantize", str(model), "--pairs", nowhere, "--teacher", nowhere]) == 2
    assert f"{model}: expected a model directory, found nothing" in capsys.readouterr().err


def test_model_without_fp32_says_what_to_run(
    model_dir: Path, pairs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_manifest(model_dir, replace(load_manifest(model_dir), files={}))
    assert irvis(words(model_dir, pairs_dir)) == 2
    assert "run `irvis export`" in capsys.readouterr().err
