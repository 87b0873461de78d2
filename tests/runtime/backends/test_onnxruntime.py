from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from irvis_runtime import BackendError
from irvis_runtime.backends import open_session
from irvis_runtime.backends.onnxruntime import OnnxRuntimeSession


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """left, right (N,) -> their sum and difference, given out in this order."""
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["left", "right"], ["sum"]),
            helper.make_node("Sub", ["left", "right"], ["difference"]),
        ],
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("left", "right")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("sum", "difference")],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def ones(length: int) -> NDArray[np.float32]:
    return np.ones(length, np.float32)


def test_binds_by_name_not_by_position(model: Path) -> None:
    with OnnxRuntimeSession(model, threads=1) as session:
        found = session.infer({"right": 2 * ones(3), "left": 5 * ones(3)})
    assert list(found) == ["sum", "difference"]
    np.testing.assert_array_equal(found["sum"], 7 * ones(3))
    np.testing.assert_array_equal(found["difference"], 3 * ones(3))


def test_size_may_change_from_call_to_call(model: Path) -> None:
    with OnnxRuntimeSession(model) as session:
        for length in (1, 5, 2):
            assert session.infer({"left": ones(length), "right": ones(length)})["sum"].shape == (length,)


def test_says_its_version(model: Path) -> None:
    with OnnxRuntimeSession(model) as session:
        assert session.versions == {"onnxruntime": onnxruntime.__version__}


def test_is_what_open_session_gives_for_its_name(model: Path) -> None:
    with open_session("onnxruntime", model, 1) as session:
        assert isinstance(session, OnnxRuntimeSession)


def test_missing_and_wrong_inputs_are_one_line(model: Path) -> None:
    with OnnxRuntimeSession(model) as session:
        wrong: list[dict[str, NDArray[Any]]] = [{"left": ones(3)}, {"left": ones(3), "right": np.ones(3)}]
        for inputs in wrong:
            with pytest.raises(BackendError, match="ONNX Runtime failed") as caught:
                session.infer(inputs)
            assert "\n" not in str(caught.value)


def test_closed_session_says_so(model: Path) -> None:
    session = OnnxRuntimeSession(model)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="this ONNX Runtime session is closed"):
        session.infer({"left": ones(3), "right": ones(3)})


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08" * 40])
def test_a_file_that_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=r"broken\.onnx: ONNX Runtime .* cannot load it \(") as caught:
        OnnxRuntimeSession(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot load it"):
        OnnxRuntimeSession(tmp_path / "nowhere.onnx")


def test_without_onnx_runtime_the_error_names_the_command(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        BackendError, match=r"ONNX Runtime is missing .*install it with `pip install onnxruntime`"
    ):
        OnnxRuntimeSession(model)
