from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime import Fuser, default_model_dir
from irvis_runtime.contract import sha256_of
from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.targets import open_targets

SIZE_HW = (24, 32)


def picture(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, SIZE_HW, dtype=np.uint8)


INFRARED, VISIBLE = picture(1), picture(2)


def write_teacher(path: Path, dtype: str = "FLOAT", output: str = "fused", gain: float = 0.5) -> Path:
    """A teacher whose picture is gain * (infrared + visible)."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make a teacher")
    helper, kind = onnx.helper, getattr(onnx.TensorProto, dtype)
    shape = [1, 1, "H", "W"]
    nodes = [
        helper.make_node("Add", ["infrared", "visible"], ["sum"]),
        helper.make_node("Mul", ["sum", "gain"], [output]),
    ]
    numpy_type = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info(name, kind, shape) for name in ("infrared", "visible")],
        [helper.make_tensor_value_info(output, kind, shape)],
        [onnx.numpy_helper.from_array(np.array(gain, numpy_type), "gain")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_pictures_are_found_by_relative_name_before_stem(tmp_path: Path) -> None:
    write_picture(tmp_path / "a" / "1.png", picture(3))
    write_picture(tmp_path / "b" / "1.png", picture(4))
    with open_targets(tmp_path) as targets:
        assert (targets.kind, targets.engine) == ("pictures", None)
        target_hw = targets.target("b/1", INFRARED, VISIBLE)
    assert target_hw.dtype == np.float32
    np.testing.assert_array_equal(target_hw, picture(4))


def test_pictures_are_found_by_stem_where_folders_differ(tmp_path: Path) -> None:
    write_picture(tmp_path / "fused" / "0007.png", picture(5))
    with open_targets(tmp_path) as targets:
        np.testing.assert_array_equal(targets.target("MSRS/0007", INFRARED, VISIBLE), picture(5))


def test_a_colour_picture_gives_its_luma(tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png", np.dstack([picture(6)] * 3))
    with open_targets(tmp_path) as targets:
        np.testing.assert_array_equal(targets.target("x", INFRARED, VISIBLE), picture(6))


def test_a_stem_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_picture(tmp_path / folder / "1.png", picture(3))
    with open_targets(tmp_path) as targets, pytest.raises(ContractError, match="expected one fused picture"):
        targets.target("c/1", INFRARED, VISIBLE)


def test_check_names_the_first_pair_without_a_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png", picture(3))
    with open_targets(tmp_path) as targets:
        targets.check(["set/1", "1"])
        with pytest.raises(ContractError, match="'set/2'"):
            targets.check(["set/1", "set/2", "set/3"])


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png", np.zeros((30, 40), np.uint8))
    with (
        open_targets(tmp_path) as targets,
        pytest.raises(ContractError, match=r"expected 32 x 24 .* got 40 x 30"),
    ):
        targets.target("1", INFRARED, VISIBLE)


@pytest.mark.parametrize("name", ["nothing", "text.txt", "empty"])
def test_what_is_no_teacher_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(ContractError, match=name):
        open_targets(tmp_path / name)


def test_an_onnx_teacher_takes_and_gives_bytes(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    with open_targets(path, threads=1) as targets:
        target_hw = targets.target("any name", INFRARED, VISIBLE)
        assert targets.engine is not None
        assert (targets.kind, targets.engine.backend) == ("onnx", "onnxruntime")
        assert targets.engine.sha256 == sha256_of(path)
        targets.check(["any name"])
    assert target_hw.dtype == np.float32
    expected_hw = (INFRARED.astype(np.float64) + VISIBLE) / 2
    np.testing.assert_allclose(target_hw, expected_hw, atol=1e-3)


def test_an_onnx_teacher_is_clipped_to_0_255(tmp_path: Path) -> None:
    with open_targets(write_teacher(tmp_path / "teacher.onnx", gain=5.0), threads=1) as targets:
        target_hw = targets.target("x", INFRARED, VISIBLE)
    assert target_hw.max() == 255
    assert target_hw.min() >= 0


@pytest.mark.parametrize(("dtype", "output"), [("FLOAT16", "fused"), ("FLOAT", "output")])
def test_other_ports_are_refused_before_loading(tmp_path: Path, dtype: str, output: str) -> None:
    path = write_teacher(tmp_path / "teacher.onnx", dtype, output)
    with pytest.raises(ContractError, match="float32 ports"):
        open_targets(path)


def test_a_students_file_is_no_teacher() -> None:
    with pytest.raises(ContractError, match="name a model by its directory"):
        open_targets(default_model_dir() / "model.onnx")


def test_a_teacher_that_gives_nan_is_refused(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx", gain=float("nan"))
    with open_targets(path, threads=1) as targets, pytest.raises(ContractError, match="finite"):
        targets.target("x", INFRARED, VISIBLE)


def test_a_model_directory_is_its_fp32() -> None:
    model_dir = default_model_dir()
    with open_targets(model_dir, threads=1) as targets, Fuser(model_dir, "fp32", threads=1) as fuser:
        assert targets.kind == "model"
        np.testing.assert_array_equal(targets.target("x", INFRARED, VISIBLE), fuser.fuse(INFRARED, VISIBLE))
