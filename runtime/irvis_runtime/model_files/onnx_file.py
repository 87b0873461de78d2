"""Reads what an ONNX file says about itself, without onnx, and checks it against the contract.

The field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from irvis_runtime.errors import ContractError

from .checked_files import read_file
from .ports import Port
from .protobuf_wire import Message

MAX_IR_VERSION = 10

# What the project's graphs use and both TensorRT from 8.6 on and ONNX Runtime run.
# fmt: off
ALLOWED_OPERATORS = frozenset((
    "Abs", "Add", "AveragePool", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
    "DepthToSpace", "DequantizeLinear", "Div", "Equal", "Exp", "Expand", "Flatten", "Floor", "Gather",
    "Gemm", "GlobalAveragePool", "Greater", "Identity", "Less", "Log", "MatMul", "Max", "Min", "Mod", "Mul",
    "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceMean", "Relu", "Reshape", "Resize",
    "Round", "Shape", "Sigmoid", "Slice", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tanh",
    "Transpose", "Unsqueeze", "Where",
))
# fmt: on
ONNX_RUNTIME_OPERATORS = ALLOWED_OPERATORS | {"QLinearConv"}
"""What a file for ONNX Runtime alone may hold: computed scales have no other form that is fast there."""

_ADVICE = "copy the file again or export the model again"
_MAX_FILE_BYTES = 512 << 20
_MAX_GRAPH_DEPTH = 16

# TensorProto.DataType, by numpy's names where numpy has the type.
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
}
_EXTERNAL = 1


@dataclass(frozen=True)
class OnnxSummary:
    """What an ONNX file says about itself.

    Attributes:
        ir_version: Version of the file format.
        opsets: (domain, version) of each imported operator set; the default domain is "".
        operators: (domain, type) of all nodes, subgraphs and local functions included, sorted, each once.
        inputs: Of the main graph, without those that initializers give; a size that is not told is "?", a
            shape that is not told is ("...",), a type that is no tensor has dtype "no tensor".
        outputs: Of the main graph.
        external_data: Names of the tensors whose data lies in another file.
        functions: Names of the local functions.
        has_training: Whether it holds training graphs, which are not summarized.
    """

    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    operators: tuple[tuple[str, str], ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    external_data: tuple[str, ...]
    functions: tuple[str, ...]
    has_training: bool


def read_onnx(path: Path) -> OnnxSummary:
    """Returns the summary of an ONNX file; ContractError where it is unreadable, cut or no ONNX file."""
    content = read_file(Path(path), "an ONNX file", _MAX_FILE_BYTES)
    model = Message(memoryview(content), str(path), _ADVICE)
    graph = model.message(7, "graph")
    ir_version = model.integer(1)
    if graph is None or ir_version is None:
        missing = "graph" if graph is None else "IR version"
        raise model.error("an ONNX file", f"one without {missing}")
    found = _Findings()
    found.add_graph(graph, depth=1)
    functions = model.messages(25, "functions")
    for function in functions:
        found.add_nodes(function, number=7, depth=1)
    initialized = {tensor.text(8) for tensor in graph.messages(5, "initializer")}
    initialized |= {
        values.text(8)
        for sparse in graph.messages(15, "sparse_initializer")
        if (values := sparse.message(1, "values")) is not None
    }
    return OnnxSummary(
        ir_version=ir_version,
        opsets=tuple(_opset(entry) for entry in model.messages(8, "opset_import")),
        operators=tuple(sorted(found.operators)),
        inputs=tuple(port for port in _ports(graph, 11, "input") if port.name not in initialized),
        outputs=tuple(_ports(graph, 12, "output")),
        external_data=tuple(found.external_data),
        functions=tuple(function.text(1) for function in functions),
        has_training=20 in model,
    )


def check_onnx(
    path: Path,
    expected_inputs: Sequence[Port],
    expected_outputs: Sequence[Port],
    opset: int,
    for_onnxruntime: bool = False,
) -> None:
    """Raises ContractError unless the file has these ports, this opset and only what its backends run.

    These are all backends, or ONNX Runtime alone.
    """
    summary = read_onnx(path)
    _check_kind(path, summary)
    _check_opsets(path, summary, opset)
    _check_operators(path, summary, for_onnxruntime)
    _check_ports(path, "input", summary.inputs, expected_inputs)
    _check_ports(path, "output", summary.outputs, expected_outputs)


def _check_kind(path: Path, summary: OnnxSummary) -> None:
    if not 1 <= summary.ir_version <= MAX_IR_VERSION:
        raise _error(path, f"an IR version from 1 to {MAX_IR_VERSION}", str(summary.ir_version))
    if summary.external_data:
        names = _listed(summary.external_data)
        raise _error(path, "all data inside the file", f"external data for the tensor {names}")
    if summary.functions:
        raise _error(path, "a graph without local functions", f"the function {_listed(summary.functions)}")
    if summary.has_training:
        raise _error(path, "a graph for inference only", "training graphs")


def _check_opsets(path: Path, summary: OnnxSummary, opset: int) -> None:
    for domain, version in summary.opsets:
        if domain:
            raise _error(path, "operators of the default domain only", f"an import of {domain!r} {version}")
    versions = [version for _, version in summary.opsets]
    if versions != [opset]:
        raise _error(path, f"opset {opset}", ", ".join(map(str, versions)) or "none")


def _check_operators(path: Path, summary: OnnxSummary, for_onnxruntime: bool) -> None:
    allowed = ONNX_RUNTIME_OPERATORS if for_onnxruntime else ALLOWED_OPERATORS
    backends = "ONNX Runtime runs" if for_onnxruntime else "TensorRT 8.6 and ONNX Runtime both run"
    if not summary.operators:
        raise _error(path, "a graph", "one without nodes")
    for domain, operator in summary.operators:
        if domain:
            raise _error(path, "operators of the default domain only", f"{operator} of {domain!r}")
        if operator not in allowed:
            raise _error(path, f"operators that {backends} well", f"the operator {operator!r}")


def _check_ports(path: Path, side: str, found: Sequence[Port], expected: Sequence[Port]) -> None:
    """Compares by name: the order means nothing."""
    names = [port.name for port in found]
    wanted = {port.name: port for port in expected}
    if sorted(names) != sorted(wanted):
        raise _error(path, f"the {side}s {_listed(list(wanted))}", _listed(names) or "none")
    for port in found:
        if port != wanted[port.name]:
            raise _error(path, f"the {side} {wanted[port.name]}", str(port))


def _error(path: Path, expected: str, got: str) -> ContractError:
    return ContractError(f"{path}: expected {expected}, got {got}; {_ADVICE}")


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name[:60]) for name in names[:most]) + more


@dataclass
class _Findings:
    """Collects operators and external data over nested graphs."""

    operators: set[tuple[str, str]] = field(default_factory=set)
    external_data: list[str] = field(default_factory=list)

    def add_graph(self, graph: Message, depth: int) -> None:
        if depth > _MAX_GRAPH_DEPTH:
            raise graph.error(f"graphs nested at most {_MAX_GRAPH_DEPTH} deep", "more")
        for tensor in graph.messages(5, "initializer"):
            self.add_tensor(tensor)
        for sparse in graph.messages(15, "sparse_initializer"):
            self.add_sparse(sparse)
        self.add_nodes(graph, number=1, depth=depth)

    def add_nodes(self, parent: Message, number: int, depth: int) -> None:
        for node in parent.messages(number, "node"):
            self.operators.add((_domain(node.text(7)), node.text(4)))
            for attribute in node.messages(5, "attribute"):
                self.add_attribute(attribute, depth)

    def add_attribute(self, attribute: Message, depth: int) -> None:
        for number in (5, 10):
            for tensor in attribute.messages(number, "tensor"):
                self.add_tensor(tensor)
        for number in (22, 23):
            for sparse in attribute.messages(number, "sparse_tensor"):
                self.add_sparse(sparse)
        for number in (6, 11):
            for graph in attribute.messages(number, "graph"):
                self.add_graph(graph, depth + 1)

    def add_sparse(self, sparse: Message) -> None:
        for number, name in ((1, "values"), (2, "indices")):
            for tensor in sparse.messages(number, name):
                self.add_tensor(tensor)

    def add_tensor(self, tensor: Message) -> None:
        if 13 in tensor or tensor.integer(14) == _EXTERNAL:
            self.external_data.append(tensor.text(8))


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _opset(entry: Message) -> tuple[str, int]:
    version = entry.integer(2)
    if version is None:
        raise entry.error("an operator set with its version", "none")
    return _domain(entry.text(1)), version


def _ports(graph: Message, number: int, name: str) -> Iterator[Port]:
    for value in graph.messages(number, name):
        kind = value.message(2, "type")
        tensor = kind.message(1, "tensor_type") if kind is not None else None
        if tensor is None:
            yield Port(value.text(1), "no tensor", ("...",))
            continue
        code = tensor.integer(1) or 0
        shape = tensor.message(2, "shape")
        sizes = ("...",) if shape is None else tuple(_size(size) for size in shape.messages(1, "dim"))
        yield Port(value.text(1), _DTYPES.get(code, f"type {code}"), sizes)


def _size(size: Message) -> int | str:
    if 1 in size and 2 in size:
        raise size.error("a number or a name", "both")
    number = size.integer(1)
    return (size.text(2) or "?") if number is None else number
