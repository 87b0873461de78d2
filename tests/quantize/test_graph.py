from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from irvis_export.graph import Graph, cast_target, sort_nodes
from irvis_quantize.casts import move_casts_inward
from irvis_quantize.sessions import open_bytes
from irvis_runtime.contract import FUSED
from irvis_runtime.errors import BackendError

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]


def test_moving_casts_changes_no_picture(tiny: ModelProto, shipped: ModelProto, make_inputs: Inputs) -> None:
    for model, size_hw in ((tiny, (16, 16)), (tiny, (33, 50)), (shipped, (97, 161))):
        inputs = make_inputs(3, *size_hw)
        before = open_bytes(model).run([FUSED], inputs)[0]
        after = open_bytes(move_casts_inward(model)).run([FUSED], inputs)[0]
        np.testing.assert_array_equal(after, before)


def test_bytes_are_moved(tiny: ModelProto, element_types: Callable[[ModelProto], dict[str, int]]) -> None:
    moved = move_casts_inward(tiny)
    types = element_types(moved)
    edges = [node for node in moved.graph.node if node.op_type == "Pad"]
    assert len(edges) == 2
    assert {types[node.input[0]] for node in edges} == {TensorProto.UINT8}
    (last,) = (node for node in moved.graph.node if FUSED in node.output)
    assert last.op_type == "Slice"
    assert types[last.input[0]] == TensorProto.UINT8


def test_moving_leaves_the_original_alone(tiny: ModelProto) -> None:
    before = tiny.SerializeToString(deterministic=True)
    move_casts_inward(tiny)
    assert tiny.SerializeToString(deterministic=True) == before


def small_graph(
    nodes: list[onnx.NodeProto], constants: dict[str, NDArray[np.generic]], kind: int
) -> ModelProto:
    """uint8 `x` (1, 1, 4, 4) through `nodes` to `y` of the type `kind`."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_pad_with_a_value_of_its_own_stays_where_it_is() -> None:
    """Its value is a float; before the cast it would have to be a byte."""
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["real", "pads", "value"], ["y"], mode="constant"),
    ]
    pads = np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64)
    model = small_graph(nodes, {"pads": pads, "value": np.float32(0.5).reshape(())}, TensorProto.FLOAT)
    moved = move_casts_inward(model)
    assert [node.op_type for node in moved.graph.node] == ["Cast", "Pad"]
    session = onnxruntime.InferenceSession(moved.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros((1, 1, 4, 4), np.uint8)})[0][0, 0, 4, 4] == 0.5


def test_concat_moves_only_if_all_its_inputs_are_bytes() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["real", "floats"], ["y"], axis=1),
    ]
    floats = np.full((1, 1, 4, 4), 0.5, np.float32)
    moved = move_casts_inward(small_graph(nodes, {"floats": floats}, TensorProto.FLOAT))
    assert [node.op_type for node in moved.graph.node] == ["Cast", "Concat"]


def test_cast_with_two_takers_is_kept_for_the_other() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("SpaceToDepth", ["real"], ["blocks"], blocksize=4),
        helper.make_node("ReduceMean", ["real"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["blocks", "mean"], ["y"]),
    ]
    model = small_graph(nodes, {}, TensorProto.FLOAT)
    moved = move_casts_inward(model)
    picture = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    results = [open_bytes(m).run(None, {"x": picture})[0] for m in (model, moved)]
    np.testing.assert_array_equal(*results)
    (fold,) = (node for node in moved.graph.node if node.op_type == "SpaceToDepth")
    assert fold.input[0] == "x"


def test_nodes_are_sorted_from_any_order(tiny: ModelProto) -> None:
    mixed = ModelProto()
    mixed.CopyFrom(tiny)
    nodes = list(mixed.graph.node)
    del mixed.graph.node[:]
    mixed.graph.node.extend(nodes[::-1])
    sort_nodes(mixed)
    onnx.checker.check_model(mixed, full_check=True)
    assert len(mixed.graph.node) == len(nodes)


def test_a_graph_without_order_is_an_error_not_an_endless_loop() -> None:
    nodes = [
        helper.make_node("Relu", ["b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Cast", ["nowhere"], ["y"], to=TensorProto.UINT8),
    ]
    with pytest.raises(BackendError, match="nothing makes a, b, nowhere"):
        sort_nodes(small_graph(nodes, {}, TensorProto.UINT8))


def test_graph_knows_who_makes_and_who_takes(tiny: ModelProto) -> None:
    graph = Graph(tiny)
    (last,) = (node for node in tiny.graph.node if FUSED in node.output)
    assert graph.producer[FUSED] is last or graph.producer[FUSED] == last
    assert cast_target(last) == TensorProto.UINT8
    assert graph.only_consumer(FUSED) is None
    assert graph.only_consumer(last.input[0]) == last
