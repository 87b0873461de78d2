"""Writes ONNX: the student as bytes in, bytes out; a teacher as floats in, floats out."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnxsim
import torch
from irvis_runtime.atomic import write_bytes
from irvis_runtime.contract import CONTEXT, CONTEXT_SHAPE, FUSED, INFRARED, VISIBLE
from irvis_runtime.errors import BackendError
from irvis_train.student import Student
from torch import Tensor, nn

from .deployed import DeployedStudent

OPSET = 17
IR_VERSION = 8
"""ONNX Runtime before 1.18 and JetPack's parsers refuse newer ones."""
EXAMPLE_SIZE_HW = (48, 64)


def export_student(student: Student, path: Path) -> None:
    """Writes the FP32 file of the contract: uint8 ports, opset 17, IR 8, dynamic H and W, simplified."""
    picture = torch.randint(0, 256, (1, 1, *EXAMPLE_SIZE_HW), dtype=torch.uint8)
    inputs = {INFRARED: picture, VISIBLE: picture.flip(-1), CONTEXT: torch.rand(CONTEXT_SHAPE) * 255.0}
    write_onnx(DeployedStudent(student), inputs, path)


def export_teacher(teacher: nn.Module, path: Path) -> None:
    """Writes a teacher: ports infrared, visible -> fused, float32 (1, 1, H, W) in [0, 1], dynamic H and W.

    For labels and for comparison; it is no model that the runtime takes.
    """
    picture = torch.rand(1, 1, *EXAMPLE_SIZE_HW)
    write_onnx(teacher, {INFRARED: picture, VISIBLE: picture.flip(-1)}, path)


def write_onnx(module: nn.Module, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Exports `module`, simplifies the graph, checks it and writes it atomically; BackendError where a tool fails."""
    dynamic = {name: {2: "H", 3: "W"} for name in (INFRARED, VISIBLE, FUSED)}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The TorchScript exporter is the one that takes the operators of operators.py; it calls itself deprecated.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[FUSED],
            dynamic_axes=dynamic,
        )
    model, sound = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    if not sound:
        raise BackendError(f"{path}: onnxsim's simplified graph gives other numbers; report this with the versions")
    # The exporter loses the output's batch and channel; they are the inputs' own.
    model.graph.output[0].type.tensor_type.shape.CopyFrom(model.graph.input[0].type.tensor_type.shape)
    finish(model, OPSET, IR_VERSION)
    write_bytes(path, model.SerializeToString(deterministic=True))


def finish(model: onnx.ModelProto, opset: int, ir_version: int) -> None:
    """Sets the IR version, turns Constant nodes into initializers, strips notes, and checks the graph."""
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
        raise BackendError(f"the exporter wrote opset {found}, expected {opset}; use the pinned versions of torch and onnx")
    onnx.checker.check_model(model, full_check=True)
