from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from irvis_export.graph import Graph
from irvis_quantize.int8 import prepared, quantize, quantized_tensors
from irvis_quantize.layers import quantized_layers
from irvis_quantize.range import Range
from irvis_quantize.rounding import Moments, round_layer, round_weights
from irvis_quantize.sessions import open_bytes
from irvis_quantize.weights import MAX_LEVEL, plain_step, plainly_rounded
from irvis_runtime.contract import FUSED

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]


def moments_of(windows: NDArray[np.float64]) -> Moments:
    return Moments(windows.mean(axis=0), windows.T @ windows / len(windows))


def smooth_windows(random: np.random.Generator, count: int, channels: int) -> NDArray[np.float64]:
    """3x3 windows of pictures whose neighbours are alike, none with the mean 0."""
    level = random.normal(1.0, 1.0, (count, channels, 1))
    return (level + random.normal(0.0, 0.1, (count, channels, 9))).reshape(count, -1)


def output_error(
    windows: NDArray[np.float64],
    weight: NDArray[np.float32],
    levels: NDArray[np.int8],
    shift: NDArray[np.float32],
) -> float:
    """Mean squared error of the outputs that the rounding makes."""
    lost = weight.reshape(len(weight), -1) - (levels * plain_step(weight)[:, None, None, None]).reshape(
        len(weight), -1
    )
    return float(np.square(windows @ lost.T - shift).mean())


@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 4]))
@settings(max_examples=15, deadline=None)
def test_outputs_err_less_than_with_each_weight_rounded_for_itself(seed: int, channels: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(0.0, 1.0, (6, channels, 3, 3)).astype(np.float32)
    bias = random.normal(0.0, 1.0, 6).astype(np.float32)
    windows = smooth_windows(random, 2000, channels)
    found = round_layer(weight, bias, moments_of(windows))
    nearest = plainly_rounded(weight, bias)
    np.testing.assert_array_equal(found.step, nearest.step)
    assert np.abs(found.levels.astype(int)).max() <= MAX_LEVEL
    # Other windows of the same kind than those that it was fitted to.
    others = smooth_windows(random, 2000, channels)
    before = output_error(others, weight, nearest.levels, np.zeros(6, np.float32))
    after = output_error(others, weight, found.levels, found.bias - bias)
    assert after < 0.5 * before


def test_weights_that_are_levels_stay_what_they_are() -> None:
    random = np.random.default_rng(1)
    weight = random.integers(-MAX_LEVEL, MAX_LEVEL + 1, (3, 2, 3, 3)).astype(np.float32)
    weight[:, 0, 0, 0] = MAX_LEVEL
    found = round_layer(0.5 * weight, None, moments_of(smooth_windows(random, 500, 2)))
    np.testing.assert_array_equal(found.levels, weight.astype(np.int8))
    np.testing.assert_allclose(found.step, 0.5)
    np.testing.assert_array_equal(found.bias, 0.0)


def test_inputs_that_are_always_zero_are_no_hindrance() -> None:
    weight = np.random.default_rng(2).normal(size=(3, 2, 3, 3)).astype(np.float32)
    found = round_layer(weight, None, moments_of(np.zeros((10, 18))))
    np.testing.assert_array_equal(found.levels, plainly_rounded(weight, np.zeros(3, np.float32)).levels)


@pytest.mark.parametrize("ends", ["tiny", "tiny_fine"])
def test_every_int8_convolution_is_rounded(
    ends: str, request: pytest.FixtureRequest, make_inputs: Inputs
) -> None:
    """And the file that comes of it is nearer to FP32, on pictures that it was not fitted to."""
    model: ModelProto = request.getfixturevalue(ends)
    rounded = round_weights(model, [make_inputs(seed, 96, 128) for seed in range(4)])
    graph = prepared(model)
    assert set(rounded) == {layer.conv.name for layer in quantized_layers(graph)}
    ranges = bounds(model, make_inputs(0, 96, 128))
    full, nearest, compensated = (
        open_bytes(made) for made in (model, quantize(model, ranges), quantize(model, ranges, rounded))
    )
    errors = []
    for session in (nearest, compensated):
        differences = [
            session.run([FUSED], inputs)[0].astype(float) - full.run([FUSED], inputs)[0]
            for inputs in (make_inputs(seed, 96, 128) for seed in range(10, 14))
        ]
        errors.append(float(np.square(differences).mean()))
    assert errors[1] < errors[0]


def bounds(model: ModelProto, inputs: dict[str, NDArray[np.generic]]) -> dict[str, Range]:
    """What each tensor reaches on one pair."""
    names = quantized_tensors(model)
    graph = Graph(ModelProto.FromString(model.SerializeToString()))
    watched = graph.model
    watched.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    values = open_bytes(watched).run(names, inputs)
    return {name: Range(float(v.min()), float(v.max())) for name, v in zip(names, values, strict=True)}
