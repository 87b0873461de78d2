from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto

from irvis_export.graph import Graph
from irvis_quantize.int8 import prepared, quantize, quantized_tensors
from irvis_quantize.parts import part_scales
from irvis_quantize.range import LEVELS, Range

SIDES = st.floats(0.0, 1e3, allow_nan=False)


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=4))
def test_each_part_fits_around_the_common_zero(bounds: list[tuple[float, float]]) -> None:
    ranges = [Range(-below, above) for below, above in bounds]
    scales, zero_point = part_scales(ranges)
    assert 0 <= zero_point <= LEVELS
    for scale, span in zip(scales, ranges, strict=True):
        assert np.isfinite(scale)
        assert -scale * zero_point <= span.low + 1e-6 * abs(span.low)
        assert scale * (LEVELS - zero_point) >= span.high - 1e-6 * span.high


@given(below=st.floats(0.1, 1e3), above=st.floats(0.1, 1e3))
def test_one_part_has_about_the_step_that_it_had_alone(below: float, above: float) -> None:
    span = Range(-below, above)
    (scale,), _ = part_scales([span])
    assert scale <= 1.01 * float(span.scale_and_zero_point()[0]) + min(below, above)
    assert scale >= 0.999 * (below + above) / LEVELS


def test_a_large_part_leaves_a_small_one_its_levels() -> None:
    (large, small), _ = part_scales([Range(0.0, 300.0), Range(-20.0, 40.0)])
    assert large < 1.6 * 300.0 / LEVELS
    assert small < 0.5 * large


def test_the_maps_of_the_blend_have_a_step_each(tiny: ModelProto) -> None:
    """As long as there is one DequantizeLinear for each, behind the Split of levels."""
    named = quantized_tensors(tiny)
    (split,) = [node for node in prepared(tiny).nodes("Split") if node.output[0] in named]
    ranges = {name: Range(-1.0, 1.0) for name in named}
    for index, part in enumerate(split.output):
        ranges[part] = Range(-(4.0**index), 4.0**index)
    made = Graph(quantize(tiny, ranges))
    steps = sorted(
        float(made.value(node.input[1]))
        for node in made.nodes("DequantizeLinear")
        if made.producer[node.input[0]].op_type == "Split"
    )
    assert steps == pytest.approx([4.0**index / 127.0 for index in range(len(split.output))], rel=0.02)
