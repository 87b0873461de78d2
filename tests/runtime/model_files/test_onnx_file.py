"""The checks of ONNX files: a right one passes, those that are wrong in one way each are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from irvis_runtime.contract import INPUT_PORTS, OUTPUT_PORTS
from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.onnx_file import OnnxSummary, check_onnx, read_onnx

from .good_onnx import OPSET, good_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def check(path: Path) -> None:
    check_onnx(path, INPUT_PORTS, OUTPUT_PORTS, OPSET)


def refusal(path: Path) -> str:
    with pytest.raises(ContractError) as caught:
        check(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


Change = Callable[[onnx.ModelProto], None]


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[1].name = "thermal"


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "result"


def float_input(model: onnx.ModelProto) -> None:
    model.graph.input[1].type.tensor_type.elem_type = TensorProto.FLOAT


def fixed_width(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[3].dim_value = 640


def swapped_sizes(model: onnx.ModelProto) -> None:
    shape = model.graph.input[2].type.tensor_type.shape
    shape.dim[2].dim_param, shape.dim[3].dim_param = "W", "H"


def unknown_rank(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


def sequence_input(model: onnx.ModelProto) -> None:
    sequence = helper.make_tensor_sequence_value_info("visible", TensorProto.UINT8, None)
    model.graph.input[2].CopyFrom(sequence)


def extra_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, [1]))


def input_with_default(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(helper.make_tensor("context", TensorProto.FLOAT, [1], [0.0]))


def extra_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1]))


def external(tensor: TensorProto) -> TensorProto:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def external_initializer(model: onnx.ModelProto) -> None:
    external(model.graph.initializer[0])


def external_without_location_flag(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def external_sparse(model: onnx.ModelProto) -> None:
    values = external(helper.make_tensor("sparse", TensorProto.FLOAT, [1], [1.0]))
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def external_constant(model: onnx.ModelProto) -> None:
    value = external(helper.make_tensor("constant", TensorProto.FLOAT, [1], [1.0]))
    model.graph.node.append(helper.make_node("Constant", [], ["k"], value=value))


def external_in_subgraph(model: onnx.ModelProto) -> None:
    weight = external(helper.make_tensor("inner", TensorProto.FLOAT, [1], [1.0]))
    branch = helper.make_graph([], "branch", [], [], [weight])
    model.graph.node.append(helper.make_node("If", ["c"], ["k"], then_branch=branch, else_branch=branch))


def forbidden_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("InstanceNormalization", ["a", "half", "zero"], ["k"]))


def custom_domain(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Conv", ["a", "half"], ["k"], domain="com.microsoft"))


def custom_import(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def local_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(
        helper.make_function("", "MyRelu", ["x"], ["y"], [node], [helper.make_opsetid("", OPSET)])
    )


def other_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 18


def two_opsets(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", OPSET))


def newer_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 11


def training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.name = "adam"


def no_nodes(model: onnx.ModelProto) -> None:
    model.graph.ClearField("node")


def forbidden_in_subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("NonZero", ["a"], ["n"])], "inner", [], [])
    outer = helper.make_graph([helper.make_node("Relu", ["a"], ["r"])], "outer", [], [])
    outer.node.append(helper.make_node("Abs", ["r"], ["n"], body=inner))
    model.graph.node.append(helper.make_node("Abs", ["c"], ["k"], then_branch=outer))


def if_with_forbidden(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("NonZero", ["a"], ["n"])], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["k"], then_branch=inner, else_branch=inner))


def deep_nesting(model: onnx.ModelProto) -> None:
    graph = helper.make_graph([], "deepest", [], [])
    for _ in range(20):
        graph = helper.make_graph([helper.make_node("Abs", ["a"], ["b"], body=graph)], "deep", [], [])
    model.graph.node.append(helper.make_node("Abs", ["a"], ["b"], body=graph))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            rename_input,
            "expected the inputs 'infrared', 'visible', 'context', got 'context', 'thermal', 'visible'",
        ),
        (rename_output, "expected the outputs 'fused', got 'result'"),
        (float_input, "got 'infrared' float32 (1, 1, 'H', 'W')"),
        (
            fixed_width,
            "expected the output 'fused' uint8 (1, 1, 'H', 'W'), got 'fused' uint8 (1, 1, 'H', 640)",
        ),
        (swapped_sizes, "got 'visible' uint8 (1, 1, 'W', 'H')"),
        (unknown_rank, "got 'context' float32 ('...',)"),
        (sequence_input, "got 'visible' no tensor"),
        (extra_input, "'gain'"),
        (input_with_default, "got 'infrared', 'visible'"),
        (extra_output, "got 'fused', 'sum'"),
        (external_initializer, "external data for the tensor 'half'"),
        (external_without_location_flag, "external data for the tensor 'half'"),
        (external_sparse, "external data for the tensor 'sparse'"),
        (external_constant, "external data for the tensor 'constant'"),
        (external_in_subgraph, "external data for the tensor 'inner'"),
        (forbidden_operator, "'InstanceNormalization'"),
        (custom_domain, "Conv of 'com.microsoft'"),
        (custom_import, "an import of 'com.microsoft' 1"),
        (local_function, "the function 'MyRelu'"),
        (other_opset, "expected opset 17, got 18"),
        (two_opsets, "expected opset 17, got 17, 17"),
        (newer_ir, "IR version from 1 to 10, got 11"),
        (training, "training graphs"),
        (no_nodes, "without nodes"),
        (forbidden_in_subgraph, "'NonZero'"),
        (if_with_forbidden, "'If'"),
        (deep_nesting, "nested at most"),
    ],
)
def test_wrong_model_is_refused_by_name(folder: Path, change: Change, named: str) -> None:
    model = good_model()
    change(model)
    assert named in refusal(saved(folder, model))


def test_good_model_passes_here_and_in_onnx(folder: Path) -> None:
    path = saved(folder, good_model())
    onnx.checker.check_model(str(path), full_check=True)
    check(path)


def test_operators_of_subgraphs_and_functions_are_in_the_summary(folder: Path) -> None:
    model = good_model()
    if_with_forbidden(model)
    local_function(model)
    operators = read_onnx(saved(folder, model)).operators
    assert {("", "If"), ("", "NonZero"), ("", "Relu")} <= set(operators)


def test_initializer_among_the_inputs_is_no_port(folder: Path) -> None:
    model = good_model()
    model.graph.input.append(helper.make_tensor_value_info("half", TensorProto.FLOAT, [1]))
    check(saved(folder, model))


def test_default_domain_by_its_long_name_is_accepted(folder: Path) -> None:
    model = good_model()
    model.opset_import[0].domain = "ai.onnx"
    for node in model.graph.node:
        node.domain = "ai.onnx"
    check(saved(folder, model))


def test_every_truncation_is_refused(folder: Path) -> None:
    whole = good_model().SerializeToString()
    path = folder / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert refusal(path)


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_changed_bytes_give_a_summary_or_a_refusal(folder: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(good_model().SerializeToString())
    for at, byte in changes:
        content[at % len(content)] = byte
    path = folder / "changed.onnx"
    path.write_bytes(content)
    try:
        summary = read_onnx(path)
    except ContractError:
        assert refusal(path)
    else:
        assert isinstance(summary, OnnxSummary)


def test_negative_sizes_read_as_negative(folder: Path) -> None:
    model = good_model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert "(-1, 2, 64, 64)" in refusal(saved(folder, model))
