"""Writes ONNX: the student as bytes in, bytes out; a teacher as floats in, floats out."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxsim
import torch
from torch import Tensor, nn

from irvis_runtime.atomic import write_bytes
from irvis_runtime.contract import CONTEXT, CONTEXT_SHAPE, FUSED, INFRARED, VISIBLE
from irvis_runtime.errors import BackendError
from irvis_train.student import Student

from .deployed import DeployedStudent

OPSET = 17
IR_VERSION = 8
"""ONNX Runtime before 1.18 and JetPack's parsers refuse newer ones."""
EXAMPLE_SIZE_HW = (48, 64)
TOOL_ERRORS = (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
"""What torch.onnx, onnxsim and onnx raise; no base class is common to them."""


def export_student(student: Student, path: Path) -> None:
    """Writes the FP32 file of the contract: uint8 ports, opset 17, IR 8, dynamic H and W, simplified."""
    picture = torch.randint(0, 256, (1, 1, *EXAMPLE_SIZE_HW), dtype=torch.uint8)
    inputs = {INFRARED: picture, VISIBLE: picture.flip(-1), CONTEXT: torch.rand(CONTEXT_SHAPE) * 255.0}
    write_onnx(DeployedStudent(student), inputs, path)


def export_teacher(teacher: nn.Module, path: Path) -> None:
    """Writes a teacher: ports infrared, visible -> fused, float32 (1, 1, H, W) in [0, 1], dynamic H and W.

    For labels and for comparison; it is no model that a Fuser takes.
    """
    picture = torch.rand(1, 1, *EXAMPLE_SIZE_HW)
    write_onnx(teacher, {INFRARED: picture, VISIBLE: picture.flip(-1)}, path)


def write_onnx(module: nn.Module, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Exports `module`, simplifies and checks the graph, and writes it atomically.

    BackendError where a tool fails. Whether the file gives torch's numbers is for the caller to see (check).
    """
    try:
        model, _ = onnxsim.simplify(trace(module, inputs))
        # The exporter loses the output's batch and channel; they are the inputs' own.
        model.graph.output[0].type.tensor_type.shape.CopyFrom(model.graph.input[0].type.tensor_type.shape)
        finish(model, OPSET, IR_VERSION)
    except TOOL_ERRORS as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BackendError(
            f"{type(module).__name__}: torch {torch.__version__}, onnx {onnx.__version__} and onnxsim "
            f"{onnxsim.__version__} cannot export it ({reason[:300]}); use the versions in constraints.txt"
        ) from error
    write_bytes(path, model.SerializeToString(deterministic=True))


def trace(module: nn.Module, inputs: Mapping[str, Tensor]) -> onnx.ModelProto:
    """Returns what torch's exporter makes of `module`, with dynamic H and W."""
    dynamic = {name: {2: "H", 3: "W"} for name in (INFRARED, VISIBLE, FUSED)}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        raw = Path(folder) / "raw.onnx"
        # The TorchScript exporter is the one that takes the operators of operators.py; it calls itself
        # deprecated.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(raw),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[FUSED],
            dynamic_axes=dynamic,
        )
        return onnx.load(raw)


def finish(model: onnx.ModelProto, opset: int, ir_version: int) -> None:
    """Sets the IR version, turns Constant nodes into initializers, strips notes, and checks the graph.

    ValueError or onnx's own errors where the graph is not what was asked for.
    """
    model.ir_version = ir_version
    model.producer_name, model.producer_version, model.doc_string = "irvis", "", ""
    for node in list(model.graph.node):
        node.doc_string = ""
        if node.op_type == "Constant":
            tensor = onnx.numpy_helper.to_array(node.attribute[0].t)
            model.graph.initializer.append(onnx.numpy_helper.from_array(tensor, node.output[0]))
            model.graph.node.remove(node)
    found = {entry.domain: entry.version for entry in model.opset_import}
    if found != {"": opset}:
        raise ValueError(f"expected opset {opset} of the default domain, got {found}")
    onnx.checker.check_model(model, full_check=True)
