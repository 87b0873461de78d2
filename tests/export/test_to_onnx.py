from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from irvis_export.to_onnx import OPSET, export_student, finish, write_onnx
from irvis_runtime.contract import FUSED, INFRARED, INPUT_PORTS, OUTPUT_PORTS, VISIBLE
from irvis_runtime.errors import BackendError
from irvis_runtime.model_files.onnx_file import check_onnx, read_onnx
from irvis_train.student import Student


def test_passes_the_contract(tiny_onnx: Path) -> None:
    check_onnx(tiny_onnx, INPUT_PORTS, OUTPUT_PORTS, OPSET)
    summary = read_onnx(tiny_onnx)
    assert (summary.ir_version, summary.opsets) == (8, (("", 17),))
    assert {port.name: port for port in summary.inputs} == {port.name: port for port in INPUT_PORTS}
    assert summary.outputs == OUTPUT_PORTS
    assert summary.external_data == ()


def test_folds_by_space_to_depth_not_by_reshapes(tiny_student: Student, tiny_graph: ModelProto) -> None:
    operators = Counter(node.op_type for node in tiny_graph.graph.node)
    # Block ends fold each picture for the front and for the blend; fine ends fold features instead.
    is_fine = tiny_student.shape.ends == "fine"
    assert operators["SpaceToDepth"] == (3 if is_fine else 4)
    assert operators["DepthToSpace"] == (3 if is_fine else 2)
    # The pictures', fine ends' once more; the padding of transposed convolutions is their convolutions' own.
    assert operators["Pad"] == (4 if is_fine else 2)
    assert operators["Resize"] == (1 if tiny_student.shape.wide_channels else 0)
    for chain in ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Expand", "ConstantOfShape"):
        assert operators[chain] == 0, chain


def test_holds_no_constant_nodes_and_no_notes(tiny_graph: ModelProto) -> None:
    assert "Constant" not in {node.op_type for node in tiny_graph.graph.node}
    assert not any(node.doc_string for node in tiny_graph.graph.node)
    assert tiny_graph.doc_string == ""
    # Nothing that the exporter knew of this machine.
    assert b"/train/" not in tiny_graph.SerializeToString()


def test_casts_come_first_and_last(tiny_graph: ModelProto) -> None:
    """TensorRT takes bytes at its ports alone: each is cast at once, and the last node casts back."""
    takers = [node for node in tiny_graph.graph.node if set(node.input) & {INFRARED, VISIBLE}]
    assert {node.op_type for node in takers} <= {"Cast", "Shape"}
    (last,) = (node for node in tiny_graph.graph.node if FUSED in node.output)
    assert last.op_type == "Cast"


def test_height_and_width_stay_open(tiny_onnx: Path) -> None:
    session = onnxruntime.InferenceSession(str(tiny_onnx), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for height, width in ((16, 16), (19, 90), (64, 33)):
        picture = random.integers(0, 256, (1, 1, height, width), dtype=np.uint8)
        context = np.full((1, 2, 64, 64), 100, np.float32)
        (fused,) = session.run([FUSED], {INFRARED: picture, VISIBLE: picture, "context": context})
        assert fused.shape == (1, 1, height, width)
        assert fused.dtype == np.uint8


def test_same_weights_same_bytes(tiny_student: Student, tiny_onnx: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    export_student(tiny_student, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == tiny_onnx.read_bytes()


@pytest.mark.slow
def test_same_bytes_from_another_process(tiny_model_dir: Path, tiny_onnx: Path) -> None:
    """Hash seeds and the order of imports differ there."""
    command = [sys.executable, "-m", "irvis_runtime", "export", str(tiny_model_dir)]
    subprocess.run(command, check=True, capture_output=True)
    assert (tiny_model_dir / "model.onnx").read_bytes() == tiny_onnx.read_bytes()


def test_a_module_that_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    class Spectrum(nn.Module):
        def forward(self, infrared: Tensor, visible: Tensor) -> Tensor:
            values: Tensor = torch.linalg.svdvals(infrared + visible)
            return values

    picture = torch.rand(1, 1, 16, 16)
    with pytest.raises(
        BackendError, match=r"^Spectrum: torch .* cannot export it \(.+\); use the versions"
    ) as caught:
        write_onnx(Spectrum(), {INFRARED: picture, VISIBLE: picture}, tmp_path / "spectrum.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_finish_refuses_another_opset(tiny_graph: ModelProto) -> None:
    other = ModelProto()
    other.CopyFrom(tiny_graph)
    other.opset_import[0].version = 18
    with pytest.raises(ValueError, match="expected opset 17 of the default domain, got"):
        finish(other, 17, 8)


def test_finish_turns_constants_into_initializers() -> None:
    value = onnx.helper.make_node(
        "Constant", [], ["two"], value=numpy_helper.from_array(np.array([2.0], np.float32), "ignored")
    )
    double = onnx.helper.make_node("Mul", ["x", "two"], ["y"], doc_string="at /home/someone/file.py")
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [3]) for name in "xy"]
    graph = onnx.helper.make_graph([value, double], "double", ports[:1], ports[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    finish(model, 17, 8)
    assert [node.op_type for node in model.graph.node] == ["Mul"]
    assert model.graph.node[0].doc_string == ""
    assert [tensor.name for tensor in model.graph.initializer] == ["two"]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": np.array([1, 2, 3], np.float32)})[0], [2, 4, 6])
