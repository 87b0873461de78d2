"""Which channels of which tensors can only be rescaled together.

A convolution takes any scale of each channel into its weights, and gives any. Between convolutions a Relu, a
shuffle, a Concat, a modulation by the context or a sum hands a channel's scale on; whatever else takes a
channel needs it as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from onnx import NodeProto

from irvis_export.graph import Graph, integer_attribute, text_attribute

Channel = tuple[str, int]
FIXED: Channel = ("", 0)
"""What every channel is tied to that must keep its scale."""


class ChannelTies:
    """Sets of channels, each a tensor's name and a number, that share one scale."""

    def __init__(
        self, graph: Graph, counts: Mapping[str, int], still: Collection[str], *, across_sums: bool
    ) -> None:
        """`counts`: channels by tensor (N, C, H, W); `still`: what the context alone decides, never rescaled.

        `across_sums`: whether a sum ties what it adds; else its terms and its result keep their scales.
        """
        self._counts, self._still, self._across_sums = counts, still, across_sums
        self._parent: dict[Channel, Channel] = {}
        for node in graph.model.graph.node:
            if not set(node.output) <= set(still):
                self._tie_node(node)

    def root(self, channel: Channel) -> Channel:
        """The same for all channels that are tied."""
        while (parent := self._parent.get(channel)) is not None:
            channel = parent
        return channel

    def channels(self, tensor: str) -> Iterator[Channel]:
        """The channels of a tensor; none for what is no picture."""
        return ((tensor, number) for number in range(self._counts.get(tensor, 0)))

    def _tie_node(self, node: NodeProto) -> None:
        if node.op_type == "Conv":
            if any(attribute.name == "group" and attribute.i != 1 for attribute in node.attribute):
                self._fix(node.input[0], node.output[0])
            return
        ties = list(self._pairs(node))
        if not ties:
            self._fix(*node.input, *node.output)
        for one, other in ties:
            self._tie(one, other)

    def _pairs(self, node: NodeProto) -> Iterator[tuple[Channel, Channel]]:
        """The channels that a node hands on; none for an operator that does not hand them on one by one."""
        data = [name for name in node.input if name and name not in self._still]
        if node.op_type in ("Relu", "Add", "Mul"):
            is_product = node.op_type == "Mul" and len(data) > 1
            is_sum = node.op_type == "Add" and len(data) > 1
            alike = all(self._counts.get(name) == self._counts.get(node.output[0]) for name in data)
            if alike and not is_product and (self._across_sums or not is_sum):
                for name in data:
                    yield from zip(self.channels(name), self.channels(node.output[0]), strict=True)
        elif node.op_type == "Resize":
            yield from zip(self.channels(node.input[0]), self.channels(node.output[0]), strict=True)
        elif node.op_type == "Concat" and len(data) == len(node.input):
            parts = (channel for name in data for channel in self.channels(name))
            yield from zip(parts, self.channels(node.output[0]), strict=True)
        elif node.op_type in ("DepthToSpace", "SpaceToDepth"):
            yield from self._shuffled(node)

    def _shuffled(self, node: NodeProto) -> Iterator[tuple[Channel, Channel]]:
        taken, given = list(self.channels(node.input[0])), list(self.channels(node.output[0]))
        block = integer_attribute(node, "blocksize") ** 2
        if node.op_type == "SpaceToDepth":
            yield from ((taken[place % len(taken)], channel) for place, channel in enumerate(given))
        elif text_attribute(node, "mode") == "CRD":
            yield from ((channel, given[place // block]) for place, channel in enumerate(taken))
        else:
            yield from ((channel, given[place % len(given)]) for place, channel in enumerate(taken))

    def _fix(self, *tensors: str) -> None:
        for tensor in tensors:
            for channel in self.channels(tensor):
                self._tie(channel, FIXED)

    def _tie(self, one: Channel, other: Channel) -> None:
        one, other = self.root(one), self.root(other)
        if one != other:
            child, parent = (other, one) if one == FIXED else (one, other)
            self._parent[child] = parent
