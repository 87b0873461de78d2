"""Inputs that cannot be quantized: one clear line, and nothing in the model directory changes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from irvis_quantize import run
from irvis_quantize.examples import read_examples
from irvis_quantize.gate import Limits
from irvis_quantize.int8 import quantize
from irvis_quantize.ranges import local_mse_ranges
from irvis_quantize.rounding import round_weights
from irvis_quantize.trt import plan_trt, to_trt
from irvis_runtime.__main__ import main as irvis
from irvis_runtime.contract import ModelFile, load_manifest, save_manifest, sha256_of
from irvis_runtime.image import read_visible, write_picture

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
        ("int8-trt", "expected a graph of floats, got DequantizeLinear: it is quantized already"),
        ("int8", "got the operator 'QLinearConv'"),
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
    inputs = [read_examples(pairs_dir, pairs_dir / "taught", 3)[0].inputs]
    if operator == "int8":
        model = quantize(model, local_mse_ranges(model, inputs, inputs))
    elif operator == "int8-trt":
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


def teacher_file(folder: Path, change: str) -> Path:
    """A teacher's ONNX that takes the greater of both pictures, with one thing wrong."""
    kind = onnx.TensorProto.FLOAT16 if change == "half" else onnx.TensorProto.FLOAT
    names = ["ir", "vis"] if change == "names" else ["infrared", "visible"]
    fused = "out" if change == "output" else "fused"
    nodes = [onnx.helper.make_node("Max", names, ["large"])]
    if change == "small":
        nodes.append(
            onnx.helper.make_node("MaxPool", ["large"], [fused], kernel_shape=[2, 2], strides=[2, 2])
        )
    elif change == "nan":
        nodes += [
            onnx.helper.make_node("Sub", ["large", "large"], ["zero"]),
            onnx.helper.make_node("Div", ["zero", "zero"], [fused]),
        ]
    else:
        nodes[0].output[0] = fused
    sizes = [1, 1, None, None]
    graph = onnx.helper.make_graph(
        nodes,
        "teacher",
        [onnx.helper.make_tensor_value_info(name, kind, sizes) for name in names],
        [onnx.helper.make_tensor_value_info(fused, kind, sizes)],
    )
    path = folder / "other.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("names", "expected a teacher with the float32 ports infrared, visible and fused, got ir (float32)"),
        ("output", "got infrared (float32), visible (float32), out (float32)"),
        ("half", "got infrared (float16)"),
        ("small", "expected the output `fused` as finite floats (1, 1, 96, 128), got (1, 1, 48, 64) float32"),
        ("nan", "expected the output `fused` as finite floats (1, 1, 96, 128), got (1, 1, 96, 128) float32"),
        (
            "student",
            "expected a teacher with the float32 ports infrared, visible and fused, got infrared (uint8)",
        ),
        ("text", "other.onnx: expected a protobuf message"),
        ("pictures", "expected 128 x 96 pixels as in the pair 'pair0', got 64 x 48"),
    ],
)
def test_a_teacher_of_another_topology(
    change: str,
    expected: str,
    words: Words,
    exported_dir: Path,
    pairs_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if change == "student":
        teacher = exported_dir / "model.onnx"
    elif change == "text":
        teacher = tmp_path / "other.onnx"
        teacher.write_text("not a model")
    elif change == "pictures":
        teacher = tmp_path / "small"
        for path in (pairs_dir / "taught").iterdir():
            write_picture(teacher / path.name, read_visible(path).luma_hw[::2, ::2])
    else:
        teacher = teacher_file(tmp_path, change)
    before = contents(exported_dir)
    capsys.readouterr()
    assert irvis(words(exported_dir, "--teacher", str(teacher))) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("irvis: error: ")
    assert expected in error
    assert contents(exported_dir) == before


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "have no file name in common"),
        (2, "expected at least 3 pairs to calibrate and to judge, got 2; add pairs"),
    ],
)
def test_fewer_pairs_than_the_search_needs(
    count: int,
    expected: str,
    words: Words,
    exported_dir: Path,
    pairs_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("ir", "vis"):
        (tmp_path / folder).mkdir()
        for path in sorted((pairs_dir / folder).iterdir())[:count]:
            shutil.copy(path, tmp_path / folder)
    before = contents(exported_dir)
    assert irvis(words(exported_dir, "--pairs", str(tmp_path))) == 2
    error = capsys.readouterr().err
    assert error.startswith("irvis: error: ")
    assert error.count("\n") == 1
    assert expected in error
    assert contents(exported_dir) == before


WAITING = """
import sys, time
from irvis_quantize import run
from irvis_runtime.__main__ import main

def search(*_):
    print("searching", flush=True)
    time.sleep(600)

run.plan_all = search
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_command_changes_nothing(kind: signal.Signals, words: Words, model_dir: Path) -> None:
    """A process of its own, while it searches for levels."""
    before = contents(model_dir)
    command = [sys.executable, "-c", WAITING, *words(model_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "searching\n"
        process.send_signal(kind)
        try:
            _, error = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == (-kind if kind == signal.SIGKILL else 130)
    assert "Traceback" not in error
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
