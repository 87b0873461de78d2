from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from irvis_export.graph import Graph
from irvis_quantize import ranges
from irvis_quantize.examples import Example, extremes, middle, split
from irvis_quantize.int8 import quantize, quantized_tensors
from irvis_quantize.observe import observe
from irvis_quantize.range import Range
from irvis_quantize.ranges import Choice, Judge, choose_ranges
from irvis_quantize.rounding import round_weights
from irvis_quantize.sessions import open_bytes
from irvis_quantize.weights import Rounded
from irvis_runtime.contract import FUSED
from irvis_runtime.errors import ContractError

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]


@pytest.fixture(scope="module")
def rounded(tiny: ModelProto, examples: list[Example]) -> dict[str, Rounded]:
    return round_weights(tiny, [middle(example).inputs for example in split(examples)[0]])


@pytest.fixture(scope="module")
def choice(tiny: ModelProto, examples: list[Example], rounded: dict[str, Rounded]) -> Choice:
    calibration, held_out = split(examples)
    return choose_ranges(tiny, calibration, held_out, rounded, extremes())


def test_takes_what_the_held_out_pairs_like_best(
    choice: Choice, tiny: ModelProto, examples: list[Example]
) -> None:
    assert set(choice.held_out_error) == {"minmax", "local-mse", "descent", "descent, nearest"}
    assert choice.held_out_error[choice.method] == min(choice.held_out_error.values())
    assert bool(choice.rounded) is (choice.method != "descent, nearest")
    _, held_out = split(examples)
    found = Judge(tiny, held_out).error(choice.ranges, choice.rounded)
    assert found == choice.held_out_error[choice.method]


def test_every_tensor_that_needs_a_range_gets_one(choice: Choice, tiny: ModelProto) -> None:
    assert list(choice.ranges) == quantized_tensors(tiny)
    for span in choice.ranges.values():
        assert span.low <= 0.0 <= span.high


def test_descent_says_what_each_share_cost(choice: Choice, tiny: ModelProto) -> None:
    assert [row["tensor"] for row in choice.steps] == quantized_tensors(tiny)
    before = [float(row["error_before"]) for row in choice.steps]
    assert before == sorted(before, reverse=True)
    for row in choice.steps:
        assert {f"error_at_{share}" for share in ranges.DESCENT_SHARES} <= set(row)


def test_a_bad_clip_is_not_taken(
    tiny: ModelProto,
    examples: list[Example],
    rounded: dict[str, Rounded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "CLIP_SHARES", (0.05,))
    monkeypatch.setattr(ranges, "DESCENT_SHARES", ())
    calibration, held_out = split(examples)
    found = choose_ranges(tiny, calibration, held_out, rounded, extremes())
    assert found.method == "minmax"
    assert found.held_out_error["local-mse"] > 1.5 * found.held_out_error["minmax"]


def test_a_bad_min_max_is_not_taken(
    tiny: ModelProto,
    examples: list[Example],
    rounded: dict[str, Rounded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bounds that an outlier stretched: shares of them are better, and are found."""

    def stretched(*arguments: Any) -> Any:
        values, bounds = observe(*arguments)
        return values, {name: (4.0 * low, 4.0 * high) for name, (low, high) in bounds.items()}

    monkeypatch.setattr(ranges, "DESCENT_SHARES", ())
    monkeypatch.setattr(ranges, "observe", stretched)
    calibration, held_out = split(examples)
    found = choose_ranges(tiny, calibration, held_out, rounded, extremes())
    assert found.method != "minmax"
    assert found.held_out_error["local-mse"] < found.held_out_error["minmax"]


@pytest.mark.slow
def test_a_descent_that_does_not_generalize_is_not_taken(
    tiny: ModelProto,
    examples: list[Example],
    rounded: dict[str, Rounded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The teacher of the calibration pairs is black, so narrower ranges look better there and only there."""
    monkeypatch.setattr(ranges, "DESCENT_SHARES", (0.05,))
    calibration, held_out = split(examples)
    misled = [Example(e.name, e.inputs, np.zeros_like(e.target_hw)) for e in calibration]
    found = choose_ranges(tiny, misled, held_out, rounded, extremes())
    assert any(float(row["error_at_0.05"]) < float(row["error_before"]) for row in found.steps)
    assert not found.method.startswith("descent")


def test_min_max_holds_the_extremes(
    tiny: ModelProto,
    examples: list[Example],
    rounded: dict[str, Rounded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranges, "CLIP_SHARES", (0.05,))
    monkeypatch.setattr(ranges, "DESCENT_SHARES", ())
    found = choose_ranges(tiny, examples[:2], examples[2:3], rounded, extremes())
    # Without shares to descend by, its ranges are those of MinMax; the weights may be rounded either way.
    assert found.method in ("minmax", "descent, nearest")
    names = list(found.ranges)
    watched = ModelProto()
    watched.CopyFrom(tiny)
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    session = open_bytes(watched)
    for inputs in extremes():
        for name, values in zip(names, session.run(names, inputs), strict=True):
            assert found.ranges[name].low <= values.min(), name
            assert found.ranges[name].high >= values.max(), name


def test_error_is_the_mean_square_to_the_teacher_and_to_fp32(
    tiny: ModelProto, choice: Choice, examples: list[Example]
) -> None:
    sessions = open_bytes(quantize(tiny, choice.ranges, choice.rounded)), open_bytes(tiny)
    fused, full = (
        session.run([FUSED], examples[0].inputs)[0][0, 0].astype(np.float32) for session in sessions
    )
    noise = float(np.square(fused - full).mean())
    assert noise > 0.0
    three_off = Example("a", examples[0].inputs, fused + 3.0)
    one_off = Example("b", examples[0].inputs, fused - 1.0)
    for judged, expected in (([three_off], 9.0), ([three_off, one_off], 5.0)):
        found = Judge(tiny, judged).error(choice.ranges, choice.rounded)
        assert found == pytest.approx(expected + noise, rel=1e-5)


def test_a_network_that_gives_nan_is_refused(tiny: ModelProto, examples: list[Example]) -> None:
    broken = ModelProto()
    broken.CopyFrom(tiny)
    tensor = Graph(broken).initializers["student.lift.1.bias"]
    values = numpy_helper.to_array(tensor).copy()
    values[3] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ContractError, match="expected finite bounds"):
        choose_ranges(broken, examples[:2], examples[2:3], {}, extremes())
    with pytest.raises(ContractError, match="expected finite inputs"):
        round_weights(broken, [examples[0].inputs])


def test_ranges_of_nothing_but_zero_are_possible(tiny: ModelProto, examples: list[Example]) -> None:
    """A dead layer has them; the graph must still be one."""
    flat = {name: Range(0.0, 0.0) for name in quantized_tensors(tiny)}
    assert np.isfinite(Judge(tiny, examples[:1]).error(flat, {}))
