from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_export.graph import Graph, integers_attribute
from irvis_quantize import int8
from irvis_quantize.blocks import CHANNELS_FIRST
from irvis_quantize.int8 import quantize, quantized_tensors
from irvis_quantize.layers import context_tensors
from irvis_quantize.range import Range
from irvis_quantize.sessions import open_bytes
from irvis_runtime.contract import FUSED

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]


@pytest.fixture(scope="module", params=["tiny", "tiny_fine"])
def model(request: pytest.FixtureRequest) -> ModelProto:
    """A student with block ends, one with fine ends."""
    found: ModelProto = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def ranges(model: ModelProto) -> Mapping[str, Range]:
    return {name: Range(-4.0, 4.0) for name in quantized_tensors(model)}


@pytest.mark.parametrize("size_hw", [(64, 96), (61, 77), (16, 40)])
def test_gives_the_same_bytes_as_channels_first(
    model: ModelProto,
    ranges: Mapping[str, Range],
    make_inputs: Inputs,
    monkeypatch: pytest.MonkeyPatch,
    size_hw: tuple[int, int],
) -> None:
    inputs = make_inputs(3, *size_hw)
    moved = open_bytes(quantize(model, ranges)).run([FUSED], inputs)[0]
    monkeypatch.setattr(int8, "keep_channels_last", lambda graph, still: None)
    first = open_bytes(quantize(model, ranges)).run([FUSED], inputs)[0]
    assert len(np.unique(first)) > 10
    np.testing.assert_array_equal(moved, first)


def test_nothing_between_convolutions_is_turned_channels_first(
    model: ModelProto, ranges: Mapping[str, Range]
) -> None:
    """What is turned goes to a convolution, which turns it again, or is levels of what has no other form."""
    graph = Graph(quantize(model, ranges))
    still = context_tensors(graph)
    takers = {
        taker.op_type
        for node in graph.nodes("Transpose")
        if integers_attribute(node, "perm") == CHANNELS_FIRST and node.input[0] not in still
        for taker in graph.consumers[node.output[0]]
    }
    assert takers <= {"QLinearConv", "DequantizeLinear"}
