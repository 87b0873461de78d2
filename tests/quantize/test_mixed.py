from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_quantize.examples import Example, extremes
from irvis_quantize.gate import Limits, Reference
from irvis_quantize.int8 import prepared, quantize, quantized_tensors
from irvis_quantize.layers import quantized_layers
from irvis_quantize.mixed import LayerCost, find_costs, settle
from irvis_quantize.observe import observe
from irvis_quantize.range import Range
from irvis_quantize.sessions import open_bytes
from irvis_quantize.weights import Rounded, plainly_rounded

Build = Callable[[Collection[str]], ModelProto]
STRICT = Limits(max_drop_db=-50.0, min_mean_agreement_db=99.0)


def layers_of(model: ModelProto) -> list[str]:
    return [layer.conv.name for layer in quantized_layers(prepared(model))]


@pytest.fixture(scope="module", params=["tiny", "tiny_fine"])
def model(request: pytest.FixtureRequest) -> ModelProto:
    found: ModelProto = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def reference(model: ModelProto, examples: list[Example]) -> Reference:
    return Reference(open_bytes(model), examples[:1])


def builder(model: ModelProto, examples: list[Example], ruined: str) -> Build:
    """Graphs whose layer `ruined` has weights that say nothing."""
    names = quantized_tensors(model)
    _, bounds = observe(model, names, [example.inputs for example in examples], extremes())
    ranges = {name: Range(*bounds[name]) for name in names}
    graph = prepared(model)
    conv = next(node for node in graph.nodes("Conv") if node.name == ruined)
    weight = np.asarray(graph.value(conv.input[1]), np.float32)
    bias: NDArray[np.float32] = np.zeros(len(weight), np.float32)
    found = plainly_rounded(weight, bias)
    broken = Rounded(np.zeros_like(found.levels), found.step, bias)

    def build(kept: Collection[str]) -> ModelProto:
        return quantize(model, ranges, {ruined: broken}, kept)

    return build


def test_any_layer_may_stay_and_any_may_be_alone(model: ModelProto, examples: list[Example]) -> None:
    layers = layers_of(model)
    build = builder(model, examples, layers[0])
    for name in layers:
        for kept in ([name], [other for other in layers if other != name]):
            graph = build(kept)
            assert sum(node.op_type == "QLinearConv" for node in graph.graph.node) == len(layers) - len(kept)


def test_the_ruined_layer_costs_most_and_is_moved_first(
    model: ModelProto, reference: Reference, examples: list[Example]
) -> None:
    layers = layers_of(model)
    ruined = layers[len(layers) // 2]
    build = builder(model, examples, ruined)
    costs = find_costs(build, layers, reference, "test")
    assert list(costs) == layers
    assert min(costs, key=lambda name: costs[name].agreement_db) == ruined
    before = reference.measure(open_bytes(build(())))
    settled = settle(build, costs, reference, STRICT, 1)
    assert settled.moved == (ruined,)
    assert settled.fidelity.agreement_psnr_db > before.agreement_psnr_db + 3.0
    kept = [node.name for node in settled.graph.graph.node if node.op_type == "Conv"]
    assert ruined in kept


def test_nothing_is_moved_where_the_gate_holds_or_nothing_may_be(
    tiny: ModelProto, examples: list[Example]
) -> None:
    layers = layers_of(tiny)
    build = builder(tiny, examples, layers[0])
    reference = Reference(open_bytes(tiny), examples[:1])
    costs = dict.fromkeys(layers, LayerCost(0.0, 40.0))
    assert settle(build, costs, reference, Limits(100.0, 0.0, 0.0), 4).moved == ()
    assert settle(build, costs, reference, STRICT, 0).moved == ()
