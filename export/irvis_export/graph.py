"""Reading and rewiring ONNX graphs: who makes a tensor, and who takes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from irvis_runtime.errors import BackendError

Attribute = int | str | list[int]


class Graph:
    """A graph with its producers and consumers; call `index` after rewiring nodes by hand."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self.index()

    def index(self) -> None:
        """Lets producers and consumers be read anew when they are asked for next."""
        self._producer: dict[str, NodeProto] | None = None
        self._consumers: dict[str, list[NodeProto]] | None = None

    @property
    def producer(self) -> dict[str, NodeProto]:
        """The node that makes each tensor."""
        if self._producer is None:
            self._producer = {name: node for node in self.model.graph.node for name in node.output}
        return self._producer

    @property
    def consumers(self) -> dict[str, list[NodeProto]]:
        """The nodes that take each tensor, as often as they take it."""
        if self._consumers is None:
            self._consumers = {}
            for node in self.model.graph.node:
                for name in node.input:
                    self._consumers.setdefault(name, []).append(node)
        return self._consumers

    def nodes(self, op_type: str) -> Iterator[NodeProto]:
        """The nodes of an operator type, in the graph's order."""
        return (node for node in self.model.graph.node if node.op_type == op_type)

    def only_consumer(self, tensor: str) -> NodeProto | None:
        """The node that alone takes a tensor, or None where several do or the graph gives it out."""
        taking = self.consumers.get(tensor, [])
        is_output = any(output.name == tensor for output in self.model.graph.output)
        return taking[0] if len(taking) == 1 and not is_output else None

    def rename_input(self, old: str, new: str) -> None:
        """Lets every node that takes `old` take `new`."""
        for node in self.consumers.get(old, []):
            for position, name in enumerate(node.input):
                if name == old:
                    node.input[position] = new
        self.index()

    def add(self, op_type: str, inputs: Sequence[str], *outputs: str, **attributes: Attribute) -> str:
        """Appends a node and returns its first output; `sort_nodes` puts it in its place later."""
        name = f"{outputs[0]}_{op_type}"
        node = onnx.helper.make_node(op_type, list(inputs), outputs, name=name)
        node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())
        self.model.graph.node.append(node)
        self.index()
        return outputs[0]

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Stores an array under a name of its own and returns that."""
        self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        self.initializers[name] = self.model.graph.initializer[-1]
        return name

    def value(self, name: str) -> NDArray[np.generic]:
        """A stored array."""
        array: NDArray[np.generic] = numpy_helper.to_array(self.initializers[name])
        return array

    def remove(self, node: NodeProto) -> None:
        """Takes a node out; its consumers must have been rewired before."""
        self.model.graph.node.remove(node)
        self.index()

    def drop_unused(self) -> None:
        """Takes out nodes that nobody takes anything of, also those that only such nodes took."""
        outputs = {output.name for output in self.model.graph.output}
        for node in reversed(list(self.model.graph.node)):
            if not any(self.consumers.get(name) or name in outputs for name in node.output):
                self.remove(node)

    def drop_unused_casts(self) -> None:
        """Takes out casts that nobody takes, also those that only such casts took."""
        outputs = {output.name for output in self.model.graph.output}
        for cast in reversed(list(self.nodes("Cast"))):
            if not self.consumers.get(cast.output[0]) and cast.output[0] not in outputs:
                self.remove(cast)


def cast_target(cast: NodeProto) -> int:
    """The TensorProto.DataType that a Cast makes."""
    return integer_attribute(cast, "to")


def integer_attribute(node: NodeProto, name: str) -> int:
    """An attribute that the node must have."""
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == name)


def integers_attribute(node: NodeProto, name: str) -> list[int]:
    """A list of integers that the node must have."""
    return next(list(attribute.ints) for attribute in node.attribute if attribute.name == name)


def text_attribute(node: NodeProto, name: str) -> str:
    """An attribute, or nothing where the node has none."""
    return next((attribute.s.decode() for attribute in node.attribute if attribute.name == name), "")


def sort_nodes(model: ModelProto) -> None:
    """Puts each node after those that make what it takes; BackendError where there is no such order."""
    waiting = list(model.graph.node)
    known = (
        {port.name for port in model.graph.input} | {tensor.name for tensor in model.graph.initializer} | {""}
    )
    ordered: list[NodeProto] = []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            missing = sorted({name for node in waiting for name in node.input} - known)
            raise BackendError(
                f"the graph has no order: nothing makes {', '.join(missing[:3])}; export the model again"
            )
        ordered += ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not known.issuperset(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
