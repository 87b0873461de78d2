"""The checks of a model directory: what is right passes, each wrong thing is named."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from irvis_runtime.contract import (
    CONTEXT_SHAPE,
    INPUT_PORTS,
    MANIFEST_NAME,
    OUTPUT_PORTS,
    Manifest,
    ModelFile,
    Port,
    WeightFile,
    checked_model_path,
    checked_weights_path,
    load_manifest,
    padded_size,
    save_manifest,
    sha256_of,
)
from irvis_runtime.errors import ContractError

from .model_files.manifests import MANIFEST


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


def test_ports_are_those_of_schema_1() -> None:
    picture = (1, 1, "H", "W")
    assert set(INPUT_PORTS) == {
        Port("infrared", "uint8", picture),
        Port("visible", "uint8", picture),
        Port("context", "float32", (1, 2, 64, 64)),
    }
    assert (Port("fused", "uint8", picture),) == OUTPUT_PORTS
    assert CONTEXT_SHAPE == (1, 2, 64, 64)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 10_000), width=st.integers(1, 10_000), multiple=st.integers(1, 256))
def test_padded_size_is_the_smallest_that_holds_the_picture(height: int, width: int, multiple: int) -> None:
    padded = padded_size(height, width, multiple)
    for side, padded_side in zip((height, width), padded, strict=True):
        assert padded_side % multiple == 0
        assert side <= padded_side < side + multiple
    assert padded_size(*padded, multiple) == padded


@pytest.mark.parametrize("arguments", [(0, 16, 8), (16, -1, 8), (16, 16, 0)])
def test_padded_size_refuses_what_is_no_size(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ContractError, match="at least 1, got"):
        padded_size(*arguments)


def load_refusal(model_dir: Path) -> str:
    with pytest.raises(ContractError) as caught:
        load_manifest(model_dir)
    return str(caught.value)


def test_saved_manifest_is_loaded(tmp_path: Path) -> None:
    save_manifest(tmp_path / "new", MANIFEST)
    assert load_manifest(tmp_path / "new") == MANIFEST


def test_what_is_no_model_directory_is_told(tmp_path: Path) -> None:
    assert "expected a model directory, found nothing" in load_refusal(tmp_path / "none")
    assert "found no such file" in load_refusal(tmp_path)
    save_manifest(tmp_path, MANIFEST)
    assert "expected a model directory, found a file" in load_refusal(tmp_path / MANIFEST_NAME)
    assert "expected a model directory" in load_refusal(Path("a\0b"))


def test_unreadable_manifests_are_told(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_NAME
    path.write_bytes(b'{"name": "\xff"}')
    assert f"{path}: expected UTF-8" in load_refusal(tmp_path)
    path.write_bytes(b" " * ((4 << 20) + 1))
    assert "at most 4 MiB" in load_refusal(tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert "got a pipe" in load_refusal(tmp_path)
    path.unlink()
    path.mkdir()
    assert "got a folder" in load_refusal(tmp_path)
    path.rmdir()
    path.symlink_to(path)
    assert "cannot read it" in load_refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_manifest_is_told(tmp_path: Path) -> None:
    save_manifest(tmp_path, MANIFEST)
    (tmp_path / MANIFEST_NAME).chmod(0)
    assert "Permission denied" in load_refusal(tmp_path)


def onnx_bytes(operator: str = "Max", opset: int = 17) -> bytes:
    """A network with the contract's ports: the brighter of both pictures."""
    pictures = {
        name: helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 1, "H", "W"])
        for name in ("infrared", "visible", "fused")
    }
    context = helper.make_tensor_value_info("context", TensorProto.FLOAT, CONTEXT_SHAPE)
    graph = helper.make_graph(
        [helper.make_node(operator, ["infrared", "visible"], ["fused"])],
        "brighter",
        [pictures["infrared"], pictures["visible"], context],
        [pictures["fused"]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def model_dir_with(folder: Path, content: bytes, opset: int = 17) -> tuple[Path, Manifest]:
    path = folder / "model.onnx"
    path.write_bytes(content)
    manifest = dataclasses.replace(MANIFEST, files={"fp32": ModelFile("model.onnx", sha256_of(path), opset)})
    return path, manifest


def model_refusal(folder: Path, manifest: Manifest, precision: str = "fp32") -> str:
    with pytest.raises(ContractError) as caught:
        checked_model_path(folder, manifest, precision)
    return str(caught.value)


def test_a_right_model_passes(folder: Path) -> None:
    path, manifest = model_dir_with(folder, onnx_bytes())
    assert checked_model_path(folder, manifest, "fp32") == path


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 10_000))
def test_a_model_cut_anywhere_is_refused(folder: Path, length: int) -> None:
    content = onnx_bytes()
    path, manifest = model_dir_with(folder, content)
    path.write_bytes(content[: length % len(content)])
    assert "expected SHA-256" in model_refusal(folder, manifest)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 10_000), flipped=st.integers(1, 255))
def test_a_model_changed_anywhere_is_refused(folder: Path, at: int, flipped: int) -> None:
    content = bytearray(onnx_bytes())
    path, manifest = model_dir_with(folder, bytes(content))
    content[at % len(content)] ^= flipped
    path.write_bytes(content)
    assert "expected SHA-256" in model_refusal(folder, manifest)


def test_a_model_with_the_right_hash_is_still_checked(folder: Path) -> None:
    _, manifest = model_dir_with(folder, onnx_bytes("BitwiseAnd", opset=18), opset=18)
    assert "model.onnx: expected operators that" in model_refusal(folder, manifest)
    _, manifest = model_dir_with(folder, onnx_bytes(), opset=19)
    assert "model.onnx: expected opset 19, got 17" in model_refusal(folder, manifest)


def test_unknown_and_absent_precisions_are_told(folder: Path) -> None:
    _, manifest = model_dir_with(folder, onnx_bytes())
    assert "expected one of fp32, fp16, int8, int8-trt, int8-fp16-trt, got 'fp8'" in model_refusal(
        folder, manifest, "fp8"
    )
    message = model_refusal(folder, manifest, "int8")
    assert "expected a file of precision int8, got a model that holds fp32; " in message
    assert "`irvis quantize`" in message


def test_a_missing_model_and_a_path_outside_are_told(tmp_path: Path) -> None:
    assert "model.onnx: expected a file to hash, found no such file" in model_refusal(tmp_path, MANIFEST)
    outside = dataclasses.replace(MANIFEST, files={"fp32": ModelFile("../model.onnx", "0" * 64, 17)})
    assert "expected a plain file name, got '../model.onnx'" in model_refusal(tmp_path, outside)


def weights_refusal(folder: Path, manifest: Manifest) -> str:
    with pytest.raises(ContractError) as caught:
        checked_weights_path(folder, manifest)
    return str(caught.value)


def test_right_weights_pass_and_changed_or_wrong_ones_do_not(tmp_path: Path) -> None:
    path = tmp_path / "student.safetensors"
    save_file({"bias": np.zeros(4, np.float32)}, path)
    manifest = dataclasses.replace(MANIFEST, weights=WeightFile(path.name, sha256_of(path)))
    assert checked_weights_path(tmp_path, manifest) == path
    cut = path.read_bytes()[:-1]
    path.write_bytes(cut)
    assert "student.safetensors: expected SHA-256" in weights_refusal(tmp_path, manifest)
    manifest = dataclasses.replace(MANIFEST, weights=WeightFile(path.name, sha256_of(path)))
    assert "student.safetensors: expected 16 bytes of tensors, got 15" in weights_refusal(tmp_path, manifest)


def test_a_model_without_weights_is_told(tmp_path: Path) -> None:
    manifest = dataclasses.replace(MANIFEST, weights=None)
    assert "expected trained weights" in weights_refusal(tmp_path, manifest)


def test_sha256_is_the_published_one(tmp_path: Path) -> None:
    # FIPS 180-2, appendix B.1 and B.3: "abc", and a million letters a.
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"a" * 1_000_000)
    assert sha256_of(path) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
