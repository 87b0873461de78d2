from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_export.graph import Graph, sort_nodes
from irvis_quantize.equalize import SCOPES, choose_equalization, equalize
from irvis_quantize.examples import Example, extremes
from irvis_quantize.int8 import quantized_tensors
from irvis_quantize.layers import context_tensors
from irvis_quantize.observe import observe_channels
from irvis_quantize.sessions import open_bytes
from irvis_quantize.weights import Rounded
from irvis_runtime.contract import FUSED

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]
NONE, BETWEEN, ACROSS = SCOPES


@pytest.fixture(params=["tiny", "tiny_fine", "shipped"])
def model(request: pytest.FixtureRequest) -> ModelProto:
    found: ModelProto = request.getfixturevalue(request.param)
    return found


def unevenness(model: ModelProto, inputs: list[dict[str, NDArray[np.generic]]]) -> dict[str, float]:
    """By tensor of the FP32 graph, the widest channel's range in those of the mean channel."""
    made = {name for node in model.graph.node for name in node.output}
    names = [name for name in quantized_tensors(model) if name in made]
    reached = observe_channels(model, names, inputs)
    return {name: float(values.max() / values.mean()) for name, values in reached.items()}


@pytest.mark.parametrize("scope", SCOPES)
def test_the_picture_stays(model: ModelProto, make_inputs: Inputs, scope: str) -> None:
    """Of other inputs and sizes than those that the channels were rescaled by."""
    before = model.SerializeToString(deterministic=True)
    equalized = equalize(model, [make_inputs(seed, 96, 128) for seed in range(2)], scope)
    assert model.SerializeToString(deterministic=True) == before
    for seed, size_hw in ((5, (96, 128)), (6, (61, 77))):
        inputs = make_inputs(seed, *size_hw)
        fused, expected = (open_bytes(m).run([FUSED], inputs)[0].astype(np.int16) for m in (equalized, model))
        assert np.abs(fused - expected).max() <= 1
        assert (fused != expected).mean() < 0.01


def test_channels_come_nearer_to_one_range(model: ModelProto, make_inputs: Inputs) -> None:
    inputs = [make_inputs(seed, 96, 128) for seed in range(2)]
    before = unevenness(model, inputs)
    for scope in (BETWEEN, ACROSS):
        after = unevenness(equalize(model, inputs, scope), inputs)
        assert after.keys() == before.keys()
        evened = [name for name in before if after[name] < 0.95 * before[name]]
        assert len(evened) > len(before) / 4
        assert np.mean(list(after.values())) < np.mean(list(before.values()))


def test_the_whole_change_costs_one_operator(model: ModelProto, make_inputs: Inputs) -> None:
    """The offsets' division, which sees no picture; everything else is in the weights."""
    equalized = equalize(model, [make_inputs(0, 96, 128)], ACROSS)
    still = context_tensors(Graph(equalized))
    known = {node.name for node in model.graph.node}
    new = [node for node in equalized.graph.node if node.name not in known]
    assert len(new) <= 1
    assert all(set(node.output) <= still for node in new)


def test_the_scope_that_agrees_best_is_taken(tiny: ModelProto, examples: list[Example]) -> None:
    seen: list[ModelProto] = []

    def quantize(equalized: ModelProto, rounded: Mapping[str, Rounded]) -> ModelProto:
        """FP32, its picture darker unless it is the second that comes."""
        assert set(rounded)
        seen.append(equalized)
        if len(seen) == 2:
            return equalized
        darker = ModelProto()
        darker.CopyFrom(equalized)
        graph = Graph(darker)
        rounding = next(node for node in graph.model.graph.node if node.op_type == "Round")
        less = graph.constant("less", np.array(0.9, np.float32))
        rounding.input[0] = graph.add("Mul", [rounding.input[0], less], "darker")
        sort_nodes(darker)
        return darker

    found = choose_equalization(tiny, examples[:2], extremes(), quantize)
    assert found.scope == SCOPES[1]
    assert list(found.agreement_db) == list(SCOPES)
    assert max(found.agreement_db, key=lambda scope: found.agreement_db[scope]) == found.scope
    assert found.model is seen[1]
