from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_export.graph import Graph
from irvis_export.lint import find_faults
from irvis_quantize.examples import extremes
from irvis_quantize.gate import psnr_db
from irvis_quantize.layers import quantized_layers
from irvis_quantize.rounding import round_weights
from irvis_quantize.sessions import open_bytes
from irvis_quantize.trt import TrtPlan, plan_trt, symmetric_step, to_fp16_trt, to_trt
from irvis_quantize.weights import MAX_LEVEL, half_step
from irvis_runtime.contract import FUSED

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]


@pytest.fixture(scope="module", params=["tiny", "tiny_fine"])
def plan(request: pytest.FixtureRequest, make_inputs: Inputs) -> TrtPlan:
    model: ModelProto = request.getfixturevalue(request.param)
    inputs = [make_inputs(seed, 96, 128) for seed in range(4)]
    return plan_trt(model, inputs, extremes(), round_weights(model, inputs))


@pytest.fixture(scope="module")
def pair_of_models(plan: TrtPlan) -> tuple[ModelProto, ModelProto]:
    """A FP32 model and its file for TensorRT."""
    return plan.model, to_trt(plan)


def test_only_what_convolutions_take_is_quantized(pair_of_models: tuple[ModelProto, ModelProto]) -> None:
    model, made = pair_of_models
    graph = Graph(made)
    named = {
        layer.conv.name for layer in quantized_layers(Graph(ModelProto.FromString(model.SerializeToString())))
    }
    for conv in graph.nodes("Conv"):
        makers = [graph.producer.get(name) for name in conv.input[:2]]
        is_levels = [maker is not None and maker.op_type == "DequantizeLinear" for maker in makers]
        assert is_levels == [conv.name in named] * 2, conv.name
    for node in graph.nodes("QuantizeLinear"):
        behind = graph.only_consumer(node.output[0])
        assert behind is not None
        assert behind.op_type == "DequantizeLinear"
        assert {taker.op_type for taker in graph.consumers[behind.output[0]]} <= {"Conv", "Add"}


def test_it_keeps_the_rules_of_tensorrt(pair_of_models: tuple[ModelProto, ModelProto]) -> None:
    model, made = pair_of_models
    assert find_faults(made) == []
    assert find_faults(model) == []


def test_agrees_with_fp32_on_other_pictures(
    pair_of_models: tuple[ModelProto, ModelProto], make_inputs: Inputs
) -> None:
    full, levels = (open_bytes(model) for model in pair_of_models)
    for seed in range(20, 23):
        inputs = make_inputs(seed, 96, 128)
        fused, expected = (session.run([FUSED], inputs)[0].astype(np.float32) for session in (levels, full))
        assert psnr_db(fused - expected) > 30.0


@given(st.lists(st.floats(-100.0, 100.0, width=32), min_size=1, max_size=50))
def test_a_step_is_at_most_what_holds_all(values: list[float]) -> None:
    array = np.array(values, np.float32)
    largest = float(np.abs(array).max())
    step = float(symmetric_step(array, largest))
    # FP16 has nothing between 0 and 6e-8.
    assert 0.0 < step <= max(largest, 1e-6) / MAX_LEVEL * 1.001 + 6e-8


def test_an_outlier_does_not_cost_the_others_their_levels() -> None:
    values = np.append(np.random.default_rng(1).normal(0.0, 1.0, 100_000), 60.0).astype(np.float32)
    assert float(symmetric_step(values, 60.0)) < 0.8 * 60.0 / MAX_LEVEL


def test_fp16_has_the_same_levels_and_all_its_scales_are_fp16(plan: TrtPlan) -> None:
    """Then TensorRT finds float16 on both sides of each convolution, typed in the graph."""
    full, half = Graph(to_trt(plan)), Graph(to_fp16_trt(plan))
    assert [(o.domain, o.version) for o in half.model.opset_import] == [("", 19)]
    assert find_faults(half.model) == []
    for op_type in ("QuantizeLinear", "DequantizeLinear"):
        scales = [[np.asarray(g.value(node.input[1])) for node in g.nodes(op_type)] for g in (full, half)]
        assert len(scales[0]) == len(scales[1]) > 0
        assert {scale.dtype for scale in scales[1]} == {np.dtype(np.float16)}
        for name in {node.input[1] for node in full.nodes(op_type)}:
            np.testing.assert_array_equal(full.value(name), np.asarray(half.value(name), np.float32))


def test_fp16_agrees_with_fp32_around_the_same_levels(plan: TrtPlan, make_inputs: Inputs) -> None:
    full, half = open_bytes(to_trt(plan)), open_bytes(to_fp16_trt(plan))
    for seed in range(20, 23):
        inputs = make_inputs(seed, 96, 128)
        fused, expected = (session.run([FUSED], inputs)[0].astype(np.float32) for session in (half, full))
        # FP16 turns a level here and there; the untrained tiny_fine lies at 37 dB, the others above 40.
        assert psnr_db(fused - expected) > 35.0


def test_a_layer_that_is_kept_has_no_levels(plan: TrtPlan) -> None:
    kept = next(iter(plan.taken))
    graph = Graph(to_trt(plan, [kept]))
    conv = next(node for node in graph.nodes("Conv") if node.name == kept)
    makers = [graph.producer.get(name) for name in conv.input[:2]]
    assert all(maker is None or maker.op_type != "DequantizeLinear" for maker in makers)
    assert find_faults(graph.model) == []


@given(st.floats(0.0, 1e3, width=32))
def test_a_step_for_fp16_is_the_next_that_it_holds(value: float) -> None:
    step = half_step(np.array([value], np.float32))
    assert step[0] == np.float32(np.float16(step[0]))
    assert step[0] >= value
    assert step[0] <= value * (1 + 2.0**-10) + 6e-8
