"""What the gate refuses, and what a machine of slow INT8 is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from onnx import ModelProto

from irvis_quantize import plans
from irvis_quantize.int8 import quantize
from irvis_quantize.range import Range
from irvis_quantize.weights import Rounded
from irvis_runtime.__main__ import main as irvis
from irvis_runtime.contract import ModelFile, load_manifest, save_manifest, sha256_of

Arguments = tuple[str, ...]
Words = Callable[..., list[str]]


@pytest.mark.slow
def test_a_machine_without_fast_int8_is_told_what_it_costs(
    words: Words,
    lenient: Arguments,
    model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    monkeypatch.setattr("irvis_quantize.__main__.has_fast_int8", lambda: False)
    assert irvis(words(model_dir, "--precisions", "int8", *lenient)) == 0
    assert re.search(
        r"no dot products of bytes .* INT8 takes \d+\.\d\d of FP32's time", capsys.readouterr().err
    )


def ruin(
    model: ModelProto,
    ranges: Mapping[str, Range],
    rounded: Mapping[str, Rounded],
    kept: Collection[str] = (),
) -> ModelProto:
    return quantize(model, {name: Range(-0.05, 0.05) for name in ranges})


def test_a_ruined_quantization_is_refused(
    words: Words, model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    monkeypatch.setattr(plans, "quantize", ruin)
    assert irvis(words(model_dir)) == 1
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


@pytest.mark.slow
def test_an_older_file_of_a_refused_precision_leaves_the_manifest(
    words: Words, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = model_dir / "model.int8.onnx"
    older.write_bytes((model_dir / "model.onnx").read_bytes())
    manifest = load_manifest(model_dir)
    files = {**manifest.files, "int8": ModelFile(older.name, sha256_of(older), 17)}
    save_manifest(model_dir, replace(manifest, files=files))
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    monkeypatch.setattr(plans, "quantize", ruin)
    assert irvis(words(model_dir)) == 1
    assert set(load_manifest(model_dir).files) == {"fp32", "fp16"}


@pytest.mark.slow
def test_a_limit_of_the_users_own(
    words: Words, model_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("irvis_quantize.ranges.DESCENT_SHARES", ())
    assert irvis(words(model_dir, "--min-agreement-db", "99")) == 1
    assert "asked for are 99.0" in capsys.readouterr().out
    assert set(load_manifest(model_dir).files) == {"fp32"}
