"""The reader of ONNX files, against onnx itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import irvis_runtime
from irvis_runtime.model_files.onnx_file import ONNX_RUNTIME_OPERATORS, OnnxSummary, read_onnx
from irvis_runtime.model_files.ports import Port

SHIPPED = sorted(Path(irvis_runtime.__file__).parent.glob("models/*/*.onnx"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


def walk(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                yield from walk(graph.node)


def ports_by_onnx(values: Iterable[onnx.ValueInfoProto], without: set[str]) -> tuple[Port, ...]:
    ports = []
    for value in values:
        tensor = value.type.tensor_type
        dtype = "bfloat16"
        if tensor.elem_type != TensorProto.BFLOAT16:
            dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        shape = tuple(
            size.dim_value if size.HasField("dim_value") else size.dim_param or "?"
            for size in tensor.shape.dim
        )
        if value.name not in without:
            ports.append(Port(value.name, dtype, shape))
    return tuple(ports)


def summary_by_onnx(path: Path) -> OnnxSummary:
    model = onnx.load(path)
    nodes = [*walk(model.graph.node), *(node for function in model.functions for node in walk(function.node))]
    initializers = {tensor.name for tensor in model.graph.initializer}
    return OnnxSummary(
        ir_version=model.ir_version,
        opsets=tuple((entry.domain, entry.version) for entry in model.opset_import),
        operators=tuple(sorted({(node.domain, node.op_type) for node in nodes})),
        inputs=ports_by_onnx(model.graph.input, initializers),
        outputs=ports_by_onnx(model.graph.output, set()),
        external_data=(),
        functions=tuple(function.name for function in model.functions),
        has_training=False,
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_models_read_as_onnx_reads_them(path: Path) -> None:
    assert read_onnx(path) == summary_by_onnx(path)


names = st.text("abcHW_é", min_size=1, max_size=6)
sizes = st.one_of(st.integers(0, 2**62), names, st.none())
dtypes = st.sampled_from([code for code in range(1, 17) if code != TensorProto.STRING])


kinds = st.tuples(st.sampled_from(["", "com.microsoft"]), names)
nodes = st.recursive(
    kinds.map(lambda kind: helper.make_node(kind[1], ["x"], ["y"], domain=kind[0])),
    lambda below: st.tuples(kinds, st.lists(below, max_size=2)).map(
        lambda drawn: helper.make_node(
            drawn[0][1], ["x"], ["y"], domain=drawn[0][0], body=helper.make_graph(drawn[1], "body", [], [])
        )
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    ports=st.dictionaries(names, st.tuples(dtypes, st.lists(sizes, max_size=5)), min_size=1, max_size=4),
    main=st.lists(nodes, max_size=4),
    functions=st.dictionaries(names, st.lists(nodes, max_size=2), max_size=2),
    opset=st.integers(1, 2**31),
    ir_version=st.integers(1, 2**40),
)
def test_any_model_reads_as_onnx_reads_it(
    folder: Path,
    ports: dict[str, tuple[int, list[int | str | None]]],
    main: list[onnx.NodeProto],
    functions: dict[str, list[onnx.NodeProto]],
    opset: int,
    ir_version: int,
) -> None:
    values = [helper.make_tensor_value_info(name, *port) for name, port in ports.items()]
    # The first port is an initializer as well, so it is no input.
    first = helper.make_tensor(next(iter(ports)), TensorProto.INT64, [2], [1, -1])
    graph = helper.make_graph(main, "any", values, values[::-1], [first])
    opsets = [helper.make_opsetid("", opset)]
    bodies = [helper.make_function("local", name, [], [], body, opsets) for name, body in functions.items()]
    model = helper.make_model(graph, opset_imports=opsets, functions=bodies)
    model.ir_version = ir_version
    path = folder / "any.onnx"
    path.write_bytes(model.SerializeToString())
    assert read_onnx(path) == summary_by_onnx(path)


def test_allowed_operators_exist_in_the_project_opsets() -> None:
    for opset in (17, 19):
        unknown = [name for name in ONNX_RUNTIME_OPERATORS if not onnx.defs.has(name, opset)]
        assert unknown == []
