from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from irvis_export.graph import Graph
from irvis_quantize.examples import extremes
from irvis_quantize.gate import psnr_db
from irvis_quantize.int8 import quantize, quantized_tensors
from irvis_quantize.layers import context_tensors
from irvis_quantize.range import Range
from irvis_quantize.sessions import open_bytes
from irvis_runtime import default_model_dir
from irvis_runtime.contract import FUSED, INPUT_PORTS, OUTPUT_PORTS
from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.onnx_file import check_onnx

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]
Types = Callable[[ModelProto], dict[str, int]]


def min_max(model: ModelProto, many_inputs: list[dict[str, NDArray[np.generic]]]) -> dict[str, Range]:
    """The range that every tensor really takes."""
    names = quantized_tensors(model)
    watched = ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    session = open_bytes(watched)
    runs = [session.run(names, inputs) for inputs in many_inputs]
    values = {name: [run[place] for run in runs] for place, name in enumerate(names)}
    return {
        n: Range(float(min(v.min() for v in vs)), float(max(v.max() for v in vs))) for n, vs in values.items()
    }


@pytest.fixture(scope="module")
def tiny_ranges(tiny: ModelProto, make_inputs: Inputs) -> dict[str, Range]:
    return min_max(tiny, [*(make_inputs(seed, 96, 128) for seed in range(4)), *extremes()])


@pytest.fixture(scope="module")
def quantized(tiny: ModelProto, tiny_ranges: dict[str, Range]) -> ModelProto:
    return quantize(tiny, tiny_ranges)


SCENE = "/student/modulation/"


def convs(model: ModelProto, *, scene: bool) -> list[NodeProto]:
    kinds = ("Conv", "QLinearConv")
    found = [n for n in model.graph.node if n.op_type in kinds and n.name.startswith(SCENE) == scene]
    assert found
    return found


def stored(graph: Graph, tensor: str) -> NDArray[np.generic]:
    array: NDArray[np.generic] = numpy_helper.to_array(graph.initializers[tensor])
    return array


def test_every_convolution_of_pictures_is_integer(
    quantized: ModelProto, tiny: ModelProto, element_types: Types
) -> None:
    types = element_types(quantized)
    held = convs(quantized, scene=False)
    assert len(held) == len(convs(tiny, scene=False))
    for conv in held:
        assert conv.op_type == "QLinearConv", conv.name
        kinds = [types[conv.input[place]] for place in (0, 3, 8)]
        assert kinds == [TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32], conv.name
        assert types[conv.output[0]] == TensorProto.UINT8


def test_weights_are_symmetric_per_output_channel(quantized: ModelProto, tiny: ModelProto) -> None:
    """Levels times stored scale are the weights; where the scale is modulated, the levels are theirs."""
    graph = Graph(quantized)
    originals = {conv.name: stored(Graph(tiny), conv.input[1]) for conv in convs(tiny, scene=False)}
    for conv in convs(quantized, scene=False):
        levels, zero = (np.asarray(stored(graph, conv.input[place]), np.float32) for place in (3, 5))
        assert not zero.any()
        assert (np.abs(levels).max(axis=(1, 2, 3)) == 127).all()
        weight = np.asarray(originals[conv.name], np.float32)
        if conv.name == "/student/lift/lift.1/Conv":
            # Rows and columns of a block before its channels.
            weight = weight.reshape(-1, 4, *weight.shape[1:]).swapaxes(0, 1).reshape(weight.shape)
        least = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
        # Raised to what FP16 holds, for the files of TensorRT's.
        half = least.astype(np.float16)
        scale = np.where(half < least, np.nextafter(half, np.float16(np.inf)), half).astype(np.float32)
        assert (np.abs(levels * scale - weight) <= 0.5001 * scale).all(), conv.name
        if conv.input[4] in graph.initializers:
            np.testing.assert_allclose(
                np.asarray(stored(graph, conv.input[4]), np.float32), scale.ravel(), rtol=1e-6
            )


def test_modulation_goes_into_scales(quantized: ModelProto) -> None:
    """Nothing is multiplied between convolutions; a bias is computed only where there is an offset."""
    graph = Graph(quantized)
    held = convs(quantized, scene=False)
    stored_scales = {conv.name for conv in held if conv.input[4] in graph.initializers}
    assert {name.removeprefix("/student/") for name in stored_scales} == {
        *(f"wide/{layer}/Conv" for layer in ("layers.0", "layers.1", "leave")),
        *("lift/lift.0/Conv", "back/layers.0/Conv"),
    }
    computed = [conv.name for conv in held if conv.input[8] not in graph.initializers]
    assert computed == ["/student/wide/enter/Conv"]


def test_offsets_go_into_biases(tiny_fine: ModelProto, make_inputs: Inputs) -> None:
    graph = Graph(quantize(tiny_fine, min_max(tiny_fine, [make_inputs(1, 96, 128)])))
    held = {conv.name: conv for conv in convs(graph.model, scene=False)}
    # In front of the sigmoid levels would be too coarse.
    assert held.pop("/student/back/last/Conv").op_type == "Conv"
    computed = {name for name, conv in held.items() if conv.input[8] not in graph.initializers}
    assert {
        "/student/lift/Conv",
        "/student/infrared/blocks.0/second/Conv",
        "/student/back/third/Conv",
    } <= computed


def test_small_and_large_scales_are_modulation_too(tiny_fine: ModelProto, make_inputs: Inputs) -> None:
    """The offset is divided by the scale, and levels of weights are multiplied by it."""
    changed = ModelProto()
    changed.CopyFrom(tiny_fine)
    graph = Graph(changed)
    (leave,) = (conv for conv in convs(changed, scene=True) if conv.name.endswith("leave/Conv"))
    bias = np.array(stored(graph, leave.input[2]))
    bias[: len(bias) // 2 : 3] = -3.0
    bias[1 : len(bias) // 2 : 3] = 0.3
    bias[len(bias) // 2 :] = 0.3
    graph.initializers[leave.input[2]].CopyFrom(numpy_helper.from_array(bias, leave.input[2]))
    calibration = [make_inputs(seed, 96, 128) for seed in range(4)]
    levels = open_bytes(quantize(changed, min_max(changed, calibration)))
    for inputs in calibration[:2]:
        fused, expected = (
            session.run([FUSED], inputs)[0].astype(np.float32) for session in (levels, open_bytes(changed))
        )
        assert psnr_db(fused - expected) > 30.0


def test_relu_is_folded_into_levels(quantized: ModelProto, tiny: ModelProto) -> None:
    def relus(model: ModelProto) -> int:
        return sum(n.op_type == "Relu" and not n.name.startswith(SCENE) for n in model.graph.node)

    assert relus(tiny) > 0
    assert relus(quantized) == 0


def test_clip_stays_where_the_range_is_wider(tiny: ModelProto, tiny_ranges: dict[str, Range]) -> None:
    """The first layer's input is clipped to +-5: levels that end there do it, those that end later do not."""
    folded = convs(tiny, scene=False)[0].input[0]
    assert folded in tiny_ranges
    for high, kept in ((5.0, False), (6.0, True), (4.0, False)):
        graph = Graph(quantize(tiny, tiny_ranges | {folded: Range(-4.0, high)}))
        clips = [node for node in graph.nodes("Clip") if node.output[0].startswith(folded)]
        assert bool(clips) is kept, high


def test_data_movement_is_on_bytes(quantized: ModelProto, element_types: Types) -> None:
    types = element_types(quantized)
    kinds = ("Pad", "SpaceToDepth", "DepthToSpace", "Concat", "Transpose")
    moved = [n for n in quantized.graph.node if n.op_type in kinds and types[n.input[0]] != TensorProto.INT64]
    still = context_tensors(Graph(quantized))
    pictures = [node for node in moved if node.input[0] not in still]
    assert {node.op_type for node in pictures} == {"Pad", "Concat", "Transpose"}
    for node in pictures:
        assert types[node.input[0]] == TensorProto.UINT8, node.name


def test_scene_encoder_is_untouched(quantized: ModelProto, tiny: ModelProto) -> None:
    weights = {tensor.name: tensor for tensor in tiny.graph.initializer}
    kept = {tensor.name: tensor for tensor in quantized.graph.initializer}
    before, after = convs(tiny, scene=True), convs(quantized, scene=True)
    assert sorted(c.SerializeToString() for c in before) == sorted(c.SerializeToString() for c in after)
    for conv in after:
        for name in conv.input[1:]:
            assert kept[name] == weights[name]


def test_keeps_the_contract_and_no_float_weights(
    quantized: ModelProto, tiny: ModelProto, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(quantized.SerializeToString())
    check_onnx(tmp_path / "model.onnx", INPUT_PORTS, OUTPUT_PORTS, 17, for_onnxruntime=True)
    with pytest.raises(ContractError, match=r"TensorRT .* got the operator 'QLinearConv'"):
        check_onnx(tmp_path / "model.onnx", INPUT_PORTS, OUTPUT_PORTS, 17)
    left = {tensor.name for tensor in quantized.graph.initializer}
    assert not [conv.input[1] for conv in convs(tiny, scene=False) if conv.input[1] in left]
    assert quantized.ir_version == 8


def test_same_ranges_same_bytes(
    tiny: ModelProto, tiny_ranges: dict[str, Range], quantized: ModelProto
) -> None:
    again = quantize(tiny, tiny_ranges)
    assert again.SerializeToString(deterministic=True) == quantized.SerializeToString(deterministic=True)


def test_random_weights_agree_with_fp32(
    tiny: ModelProto, quantized: ModelProto, make_inputs: Inputs, tolerances: Mapping[str, float]
) -> None:
    full, levels = open_bytes(tiny), open_bytes(quantized)
    for seed, size_hw in ((10, (96, 128)), (11, (61, 77)), (12, (16, 16))):
        inputs = make_inputs(seed, *size_hw)
        fused, expected = (s.run([FUSED], inputs)[0].astype(np.float32) for s in (levels, full))
        assert psnr_db(fused - expected) > tolerances["int8_min_psnr_db"], size_hw


def test_trained_weights_agree_with_fp32(
    shipped: ModelProto, make_inputs: Inputs, tolerances: Mapping[str, float]
) -> None:
    """Of the shipped weights, with MinMax ranges of other pictures than those that are judged."""
    calibration = [*(make_inputs(seed, 96, 128) for seed in range(6)), *extremes()]
    full, levels = open_bytes(shipped), open_bytes(quantize(shipped, min_max(shipped, calibration)))
    for seed in (20, 21, 22):
        inputs = make_inputs(seed, 128, 160)
        fused, expected = (s.run([FUSED], inputs)[0].astype(np.float32) for s in (levels, full))
        assert psnr_db(fused - expected) > tolerances["int8_min_psnr_db"]


@pytest.mark.parametrize("size_hw", [(96, 112), (480, 640)])
def test_shipped_file_stays_close_on_extremes(
    shipped: ModelProto, tolerances: Mapping[str, float], size_hw: tuple[int, int]
) -> None:
    full = open_bytes(shipped)
    levels = open_bytes(onnx.load(default_model_dir() / "model.int8.onnx"))
    for position, inputs in enumerate(extremes(size_hw)):
        fused, expected = (s.run([FUSED], inputs)[0].astype(np.float32) for s in (levels, full))
        assert psnr_db(fused - expected) > tolerances["int8_extremes_min_psnr_db"], position


def test_a_channel_without_weight_keeps_its_bias(tiny: ModelProto, tiny_ranges: dict[str, Range]) -> None:
    """Its own step would be so fine that the bias in such steps is more than int32 holds."""
    pruned = ModelProto()
    pruned.CopyFrom(tiny)
    graph = Graph(pruned)
    blend = convs(pruned, scene=False)[-1]
    weight, bias = (numpy_helper.to_array(graph.initializers[name]).copy() for name in blend.input[1:])
    weight[40] = 0.0
    bias[40] = 100.0
    for name, values in zip(blend.input[1:], (weight, bias), strict=True):
        graph.initializers[name].CopyFrom(numpy_helper.from_array(values, name))
    held = Graph(quantize(pruned, tiny_ranges))
    (conv,) = (node for node in held.model.graph.node if node.name == blend.name)
    levels = float(stored(held, conv.input[8])[40])
    split = held.producer[conv.input[4]]
    widths = np.asarray(stored(held, split.input[1]), np.int64)
    first = int(widths[: list(split.output).index(conv.input[4])].sum())
    step = float(stored(held, "scaled_step")[first + 40]) * float(stored(held, conv.input[1]))
    # Its part of the blend, the constant, has a step of its own.
    steps = {
        float(stored(held, node.input[1])): node.input[0]
        for node in held.nodes("DequantizeLinear")
        if held.producer[node.input[0]].op_type == "Split"
    }
    (own,) = (
        scale for scale, levels_of in steps.items() if levels_of.startswith("/student/back/Split_output_2")
    )
    gain = float(stored(held, conv.input[6])) / own
    assert levels * step / gain == pytest.approx(100.0, rel=1e-5)
