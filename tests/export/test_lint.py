"""A graph for each rule that breaks it and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from irvis_export.lint import RULES, find_faults

Arrays = dict[str, NDArray[np.generic]]
STEP = np.array(0.1, np.float32)
ZERO = np.array(0, np.int8)


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    return helper.make_node(
        op_type, inputs.split(), outputs.split(), name=f"{op_type}_{outputs}", **attributes
    )


def pair(source: str, result: str, step: str = "step", zero: str = "zero") -> list[NodeProto]:
    return [
        node("QuantizeLinear", f"{source} {step} {zero}", f"{result}_levels"),
        node("DequantizeLinear", f"{result}_levels {step} {zero}", result),
    ]


def graph(nodes: list[NodeProto], arrays: Arrays, output: str = "y") -> ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", output)]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])


CONV = node("Conv", "real w", "y")
STORED: Arrays = {"step": STEP, "zero": ZERO, "w": np.ones((4, 4, 3, 3), np.float32)}
GOOD = graph([*pair("x", "real"), CONV], STORED)
BROKEN: dict[str, list[ModelProto]] = {
    "symmetric": [
        graph([*pair("x", "real"), CONV], STORED | {"zero": np.array(3, np.int8)}),
        graph([*pair("x", "real"), CONV], STORED | {"zero": np.array(0, np.uint8)}),
        graph(
            [
                node("QuantizeLinear", "x step", "real_levels"),
                node("DequantizeLinear", "real_levels step", "real"),
                CONV,
            ],
            {"step": STEP, "w": STORED["w"]},
        ),
    ],
    "stored-scale": [
        graph(
            [node("ReduceMean", "x", "step", keepdims=0), *pair("x", "real"), CONV],
            {"zero": ZERO, "w": STORED["w"]},
        ),
        graph([*pair("x", "real"), CONV], STORED | {"step": np.array(0.0, np.float32)}),
    ],
    "per-tensor": [
        graph(
            [*pair("x", "real"), CONV],
            STORED | {"step": np.full(4, 0.1, np.float32), "zero": np.zeros(4, np.int8)},
        ),
        graph(
            [node("DequantizeLinear", "levels steps zeros", "w", axis=1), node("Conv", "x w", "y")],
            {
                "levels": np.ones((4, 4, 3, 3), np.int8),
                "steps": np.ones(4, np.float32),
                "zeros": np.zeros(4, np.int8),
            },
        ),
    ],
    "activation-first": [
        graph([node("Conv", "x w", "c"), *pair("c", "real"), node("Relu", "real", "y")], STORED),
    ],
    "levels-reach": [
        graph(
            [
                *pair("x", "real"),
                node("Cast", "real", "half", to=TensorProto.FLOAT16),
                node("Conv", "half w", "y"),
            ],
            STORED | {"w": np.ones((4, 4, 3, 3), np.float16)},
        ),
    ],
    "half-scales": [graph([*pair("x", "real"), CONV], STORED | {"step": np.array(0.1, np.float16)})],
    "float-outputs": [graph([node("Conv", "x w", "c"), *pair("c", "y")], STORED)],
    "whole-bytes": [
        graph([node("Cast", "x", "y", to=TensorProto.UINT8)], {}),
        graph(
            [
                node("Round", "x", "r"),
                node("Slice", "r a b", "s"),
                node("Cast", "s", "y", to=TensorProto.UINT8),
            ],
            {"a": np.array([0]), "b": np.array([9])},
        ),
    ],
    "operators": [
        graph([node("QLinearConv", "x step zero w step zero step zero", "y")], STORED),
        graph([node("HardSwish", "x", "y")], {}),
    ],
    "no-norm": [
        graph(
            [node("InstanceNormalization", "x a b", "y")],
            {"a": np.ones(4, np.float32), "b": np.zeros(4, np.float32)},
        )
    ],
}


def test_a_good_graph_has_no_faults() -> None:
    assert find_faults(GOOD) == []


def test_every_rule_has_a_graph_that_breaks_it() -> None:
    assert set(BROKEN) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_each_broken_graph_breaks_its_rule_alone(rule: str) -> None:
    for model in BROKEN[rule]:
        faults = find_faults(model)
        assert {fault.rule for fault in faults} == {rule}
        for fault in faults:
            assert str(fault).endswith(f"[{rule}]")
            assert "expected" in str(fault)
            assert ", got " in str(fault)
            assert "\n" not in str(fault)


def test_every_rule_names_its_source() -> None:
    for rule in RULES.values():
        assert rule.__doc__
        assert rule.__doc__.startswith("[") or "train/README.md" in rule.__doc__
