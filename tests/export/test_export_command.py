from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from irvis_export import __main__ as command
from irvis_export.check import Parity, compare
from irvis_runtime import Fuser, default_model_dir
from irvis_runtime.__main__ import main as irvis
from irvis_runtime.contract import ModelFile, checked_model_path, load_manifest, save_manifest, sha256_of
from irvis_runtime.errors import ContractError
from irvis_train.ldfusion import LdFusion, LdFusionShape
from irvis_train.student import Student
from irvis_train.student_files import read_student, save_student


def contents(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What stderr says, which must be one line of the form of every error."""
    text = capsys.readouterr().err
    assert text.startswith("irvis: error: ")
    assert text.count("\n") == 1
    return text


def test_writes_a_model_that_runs(tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert irvis(["export", str(tiny_model_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[5].startswith("DLA: ")
    assert "640x480: differs by at most" in lines[0]
    manifest = load_manifest(tiny_model_dir)
    assert set(manifest.files) == {"fp32"}
    assert manifest.files["fp32"].opset == 17
    assert manifest.measured["validation"] == {"psnr": 20.0}
    parity = manifest.measured["fp32"]
    assert isinstance(parity, dict)
    assert [row["max_lsb"] <= 1 for row in parity["parity_with_torch"]] == [True] * 5
    picture = np.random.default_rng(0).integers(0, 256, (33, 50), dtype=np.uint8)
    with Fuser(tiny_model_dir) as fuser:
        assert fuser.precision == "fp32"
        assert fuser.fuse(picture, picture).shape == (33, 50)
    assert not [name for name in contents(tiny_model_dir) if name.startswith(".")]


def test_export_again_drops_the_other_precisions(tiny_model_dir: Path) -> None:
    command.export_model_dir(tiny_model_dir)
    manifest = load_manifest(tiny_model_dir)
    stale = tiny_model_dir / "model.int8.onnx"
    stale.write_bytes((tiny_model_dir / "model.onnx").read_bytes())
    files = {**manifest.files, "int8": ModelFile(stale.name, sha256_of(stale), 17)}
    # fp16 was measured and refused: it has no file, but what was measured is stale all the same.
    measured = {**manifest.measured, "int8": {"passed": True}, "fp16": {"passed": False}}
    save_manifest(tiny_model_dir, replace(manifest, files=files, measured=measured))
    checked_model_path(tiny_model_dir, load_manifest(tiny_model_dir), "int8")
    command.export_model_dir(tiny_model_dir)
    after = load_manifest(tiny_model_dir)
    assert set(after.files) == {"fp32"}
    assert set(after.measured) == {"validation", "fp32"}


def test_failed_parity_leaves_the_directory_untouched(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command.export_model_dir(tiny_model_dir)
    before = contents(tiny_model_dir)

    def two_levels_off(student: Student, model: Path) -> list[Parity]:
        found = compare(student, model)
        return [*found[:-1], replace(found[-1], max_lsb=2)]

    monkeypatch.setattr(command, "compare", two_levels_off)
    assert irvis(["export", str(tiny_model_dir)]) == 2
    assert "differs from torch by 2 LSB, expected at most 1; nothing was written" in one_line(capsys)
    assert contents(tiny_model_dir) == before


def test_weights_that_are_not_numbers_are_refused(tiny_model_dir: Path) -> None:
    """Both sides turn a NaN into some byte, so parity alone would not see it."""
    weights = tiny_model_dir / "student.safetensors"
    student = read_student(weights)
    with torch.no_grad():
        student.get_parameter("infrared.down.bias")[3] = float("nan")
    save_student(student, weights)
    manifest = load_manifest(tiny_model_dir)
    assert manifest.weights is not None
    changed = replace(manifest, weights=replace(manifest.weights, sha256=sha256_of(weights)))
    save_manifest(tiny_model_dir, changed)
    with pytest.raises(ContractError, match=r"infrared\.down\.bias holds NaN or infinity"):
        command.export_model_dir(tiny_model_dir)
    assert not (tiny_model_dir / "model.onnx").exists()


def test_changed_weights_are_refused(tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tiny_model_dir / "student.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert irvis(["export", str(tiny_model_dir)]) == 2
    assert "expected SHA-256" in one_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected `irvis export MODEL_DIR`"),
        (["no-such-folder"], "expected a model directory, found nothing"),
        (["."], "manifest.json"),
        (["model", "-o", "x.onnx"], "expected `irvis export MODEL_DIR`"),
        (["--teacher", "x.pt"], "expected `irvis export --teacher CHECKPOINT -o TEACHER.onnx`"),
        (["model", "--teacher", "x.pt", "-o", "t.onnx"], "and nothing else"),
        (["--teacher", "x.pt", "-o", "t.pt"], "expected a name that ends in .onnx"),
        (["--teacher", "no-such.pt", "-o", "t.onnx"], "does not exist; expected a teacher"),
        (["--precision", "int4"], "--help"),
    ],
)
def test_wrong_arguments_are_one_line(
    arguments: list[str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert irvis(["export", *arguments]) == 2
    assert expected in one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_model_directory_needs_no_export_to_teach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "t.onnx"
    assert irvis(["export", "--teacher", str(default_model_dir()), "-o", str(output)]) == 2
    assert "got a model directory; give it to `--teacher` of" in one_line(capsys)
    assert not output.exists()


def test_teacher_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(5)
    checkpoint, output = tmp_path / "teacher.pt", tmp_path / "out" / "teacher.onnx"
    torch.save(LdFusion(LdFusionShape(width=4, style=False)).state_dict(), checkpoint)
    assert irvis(["export", "--teacher", str(checkpoint), "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert [path.name for path in output.parent.iterdir()] == ["teacher.onnx"]


def test_teacher_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, output = tmp_path / "teacher.pt", tmp_path / "teacher.onnx"
    torch.save(LdFusion(LdFusionShape(width=4, style=False)).state_dict(), checkpoint)
    monkeypatch.setattr(command, "compare_teacher", lambda teacher, model: 0.25)
    assert irvis(["export", "--teacher", str(checkpoint), "-o", str(output)]) == 2
    assert "differs from torch by 0.25, expected at most 0.001" in one_line(capsys)
    assert not output.exists()


def test_manifest_is_strict_json_after_export(tiny_model_dir: Path) -> None:
    command.export_model_dir(tiny_model_dir)

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    manifest = json.loads((tiny_model_dir / "manifest.json").read_text(), parse_constant=refuse)
    assert set(manifest["files"]) == {"fp32"}
