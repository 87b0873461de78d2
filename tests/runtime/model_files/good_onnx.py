"""An ONNX model that is right."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

OPSET = 17


def good_model() -> onnx.ModelProto:
    """A model with the contract's ports: the mean of both pictures, its weight an initializer."""
    nodes = [
        helper.make_node("Cast", ["infrared"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["visible"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["context"], ["c"], axes=[0, 1, 2, 3]),
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Mul", ["ab", "half"], ["mean"]),
        helper.make_node("Mul", ["c", "zero"], ["nothing"]),
        helper.make_node("Add", ["mean", "nothing"], ["sum"]),
        helper.make_node("Round", ["sum"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["fused"], to=TensorProto.UINT8),
    ]
    pictures = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 1, "H", "W"])
        for name in ("infrared", "visible", "fused")
    ]
    context = helper.make_tensor_value_info("context", TensorProto.FLOAT, [1, 2, 64, 64])
    weights = [
        helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
    ]
    graph = helper.make_graph(nodes, "mean", [context, *pictures[:2]], pictures[2:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
