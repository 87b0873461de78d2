from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from irvis_export.graph import Graph, cast_target
from irvis_quantize.examples import extremes
from irvis_quantize.fp16 import to_fp16
from irvis_quantize.layers import context_tensors
from irvis_quantize.sessions import open_bytes
from irvis_runtime import make_context
from irvis_runtime.contract import CONTEXT, FUSED, INFRARED, INPUT_PORTS, OUTPUT_PORTS, VISIBLE
from irvis_runtime.model_files.onnx_file import check_onnx, read_onnx

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]


@pytest.fixture(scope="module")
def half(tiny: ModelProto) -> ModelProto:
    return to_fp16(tiny)


@pytest.fixture(scope="module")
def types(half: ModelProto, element_types: Callable[[ModelProto], dict[str, int]]) -> dict[str, int]:
    return element_types(half)


def test_keeps_the_contract_at_opset_19(half: ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "model.fp16.onnx"
    path.write_bytes(half.SerializeToString())
    check_onnx(path, INPUT_PORTS, OUTPUT_PORTS, 19)
    assert read_onnx(path).ir_version == 9


def test_what_the_context_alone_decides_stays_fp32(half: ModelProto, types: dict[str, int]) -> None:
    """From the thumbnails to the scales and offsets: squares of grey levels are more than FP16 holds."""
    graph = Graph(half)
    still = context_tensors(graph)
    nodes = [node for node in half.graph.node if still.issuperset(node.output) and node.op_type != "Cast"]
    assert {"ReduceMean", "Sqrt", "Log", "Conv", "Exp"} <= {node.op_type for node in nodes}
    for node in nodes:
        for name in node.output:
            assert types[name] in (TensorProto.FLOAT, TensorProto.INT64), (node.name, name)


def test_convolutions_of_pictures_are_fp16_throughout(half: ModelProto, types: dict[str, int]) -> None:
    still = context_tensors(Graph(half))
    convolutions = [n for n in half.graph.node if n.op_type == "Conv" and n.output[0] not in still]
    assert len(convolutions) > 5
    for conv in convolutions:
        assert {types[name] for name in (*conv.input, *conv.output)} == {TensorProto.FLOAT16}, conv.name


def test_no_value_goes_to_fp16_and_back(half: ModelProto) -> None:
    graph = Graph(half)
    for cast in graph.nodes("Cast"):
        there = graph.producer.get(cast.input[0])
        if there is not None and there.op_type == "Cast":
            assert (cast_target(there), cast_target(cast)) != (TensorProto.FLOAT16, TensorProto.FLOAT)
        assert graph.consumers.get(cast.output[0]) or cast.output[0] == FUSED


def test_weights_of_pictures_are_half_as_large(half: ModelProto, tiny: ModelProto) -> None:
    still = context_tensors(Graph(tiny))
    of_pictures = {
        name
        for n in tiny.graph.node
        if n.op_type == "Conv" and n.output[0] not in still
        for name in n.input[1:]
    }
    half_bytes, full_bytes = (
        sum(len(t.raw_data) for t in model.graph.initializer if t.name in of_pictures)
        for model in (half, tiny)
    )
    assert half_bytes / full_bytes == 0.5


def test_agrees_with_fp32(
    tiny: ModelProto, shipped: ModelProto, make_inputs: Inputs, tolerances: Mapping[str, float]
) -> None:
    for model, sizes in ((tiny, ((96, 128), (17, 31))), (shipped, ((97, 161),))):
        full, low = open_bytes(model), open_bytes(to_fp16(model))
        for size_hw in sizes:
            inputs = make_inputs(5, *size_hw)
            fused, expected = (s.run([FUSED], inputs)[0].astype(np.int16) for s in (low, full))
            assert np.abs(fused - expected).max() <= tolerances["fp16_max_lsb"]


def test_agrees_with_fp32_on_extremes(shipped: ModelProto, tolerances: Mapping[str, float]) -> None:
    full, low = open_bytes(shipped), open_bytes(to_fp16(shipped))
    halves = np.repeat(np.array([[0, 255]], np.uint8), 64, axis=1).repeat(96, axis=0)
    contrast = {INFRARED: halves[None, None], VISIBLE: halves[None, None, :, ::-1].copy()}
    contrast_context = make_context(halves, np.ascontiguousarray(halves[:, ::-1]))
    for inputs in [*extremes((96, 128)), {**contrast, CONTEXT: contrast_context}]:
        fused, expected = (s.run([FUSED], inputs)[0].astype(np.int16) for s in (low, full))
        # Black and white are a few hundred deviations from a flat thumbnail: steps of FP16 are coarse there.
        assert np.abs(fused - expected).mean() <= tolerances["fp16_max_lsb"]


def test_same_graph_same_bytes(tiny: ModelProto, half: ModelProto) -> None:
    assert to_fp16(tiny).SerializeToString(deterministic=True) == half.SerializeToString(deterministic=True)
