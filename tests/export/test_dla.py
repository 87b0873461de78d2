"""A graph for each rule of the DLA that breaks it and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from irvis_export.dla import DLA_RULES
from irvis_export.lint import find_faults

WEIGHT: dict[str, NDArray[np.generic]] = {"w": np.ones((4, 4, 3, 3), np.float32)}
FIXED = [1, 4, 48, 64]


def graph(
    op_type: str,
    inputs: str,
    arrays: dict[str, NDArray[np.generic]] | None = None,
    shape: list[Any] | None = None,
    **attributes: Any,
) -> ModelProto:
    node = helper.make_node(op_type, inputs.split(), ["y"], name=op_type, **attributes)
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, FIXED if shape is None else shape),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in (arrays or {}).items()]
    return helper.make_model(helper.make_graph([node], "g", ports[:1], ports[1:], stored))


STEP: dict[str, NDArray[np.generic]] = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
CUT: dict[str, NDArray[np.generic]] = {"a": np.array([0]), "b": np.array([1]), "axes": np.array([0])}
BROKEN: dict[str, list[ModelProto]] = {
    "dla-operators": [graph("DepthToSpace", "x", blocksize=2), graph("Transpose", "x"), graph("Erf", "x")],
    "dla-static": [graph("Conv", "x w", WEIGHT, [1, 4, "H", "W"]), graph("Relu", "x", shape=["N", 4, 8, 8])],
    "dla-sizes": [graph("Relu", "x", shape=[1, 1, 8, 8193])],
    "dla-convolutions": [
        graph("Conv", "x w", {"w": np.ones((4, 4, 33, 33), np.float32)}),
        graph("Conv", "x w", WEIGHT, pads=[32] * 4),
        graph("Conv", "x w", WEIGHT, strides=[9, 9]),
        graph("Conv", "x w", WEIGHT, dilations=[33, 1]),
    ],
    "dla-transposed": [
        graph("ConvTranspose", "x w", WEIGHT, pads=[1, 1, 1, 1]),
        graph("ConvTranspose", "x w", WEIGHT, group=2),
    ],
    "dla-concat": [graph("Concat", "x x", axis=2)],
    "dla-slope": [graph("PRelu", "x x")],
    "dla-levels": [graph("QuantizeLinear", "x s z", STEP)],
    "dla-batch": [graph("Slice", "x a b axes", CUT), graph("ReduceMax", "x", axes=[0])],
}


@pytest.mark.parametrize(
    "good",
    [graph("Conv", "x w", WEIGHT, pads=[1, 1, 1, 1]), graph("Concat", "x x", axis=1), graph("Relu", "x")],
    ids=lambda model: model.graph.node[0].op_type,
)
def test_a_good_graph_has_no_faults(good: ModelProto) -> None:
    assert find_faults(good, DLA_RULES) == []


def test_every_rule_has_a_graph_that_breaks_it_and_a_source() -> None:
    assert set(BROKEN) == set(DLA_RULES)
    for rule in DLA_RULES.values():
        assert (rule.__doc__ or "").startswith("[dla] ")


@pytest.mark.parametrize("rule", DLA_RULES)
def test_each_broken_graph_breaks_its_rule_alone(rule: str) -> None:
    for model in BROKEN[rule]:
        faults = find_faults(model, DLA_RULES)
        assert {fault.rule for fault in faults} == {rule}
        for fault in faults:
            assert "expected" in str(fault)
            assert ", got " in str(fault)
            assert "\n" not in str(fault)
