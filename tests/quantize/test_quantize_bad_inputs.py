"""Inputs that cannot be quantized: one clear line, and nothing in the model directory changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from irvis_quantize import run
from irvis_quantize.examples import read_examples
from irvis_quantize.gate import Limits
from irvis_quantize.rounding import round_weights
from irvis_quantize.trt import plan_trt, to_trt
from irvis_runtime.__main__ import main as irvis
from irvis_runtime.contract import ModelFile, load_manifest, save_manifest, sha256_of

Arguments = tuple[str, ...]
Words = Callable[..., list[str]]


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
    words: Words,
    operator: str,
    expected: str,
    model_dir: Path,
    pairs_dir: Path,
    capsys: pytest.CaptureFixture[str],
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
    assert irvis(words(model_dir)) == 2
    error = capsys.readouterr().err
    assert error.startswith("irvis: error: ")
    assert error.count("\n") == 1
    assert expected in error
    assert contents(model_dir) == before


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
    words: Words,
    more: list[str],
    expected: str,
    exported_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in exported_dir.iterdir()}
    assert irvis(words(exported_dir, *more)) == 2
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
    words: Words, model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_manifest(model_dir, replace(load_manifest(model_dir), files={}))
    assert irvis(words(model_dir)) == 2
    assert "run `irvis export`" in capsys.readouterr().err
