"""Each INT8 file does what fake quantization in torch at the same places does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from irvis_export.graph import Graph
from irvis_quantize.examples import extremes
from irvis_quantize.int8 import quantize, quantized_tensors
from irvis_quantize.layers import context_tensors
from irvis_quantize.observe import observe
from irvis_quantize.range import Range
from irvis_quantize.rounding import round_weights
from irvis_quantize.sessions import open_bytes
from irvis_quantize.trt import plan_trt, to_trt
from irvis_runtime.context import make_context
from irvis_runtime.contract import CONTEXT, FUSED, INFRARED, VISIBLE, checked_model_path, load_manifest
from irvis_runtime.pairs import find_dataset_pairs, read_pair
from irvis_runtime.shipped_models import find_model_dir

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]
MAX_LSB = 1
# Of pixels, where ONNX Runtime differs from itself: with convolutions of floats, which kernels it takes
# depends on which tensors are given out, and so does the order of their sums.
MAX_OWN_SHARE = 1e-3


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    path = Path(__file__).with_name("fake_quantization.py")
    spec = importlib.util.spec_from_file_location("fake_quantization", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def levels_of_floats(graph: Graph, still: set[str]) -> list[str]:
    """The levels behind convolutions of floats that another convolution or a sum takes."""
    found = []
    for node in graph.nodes("QuantizeLinear"):
        takers = {taker.op_type for taker in graph.consumers.get(node.output[0], [])}
        # FP16 has no exact sums at all.
        seen = graph.initializers[node.input[1]].data_type == TensorProto.FLOAT16
        waiting = [node.input[0]]
        while waiting and not seen:
            maker = graph.producer.get(waiting.pop())
            if (
                maker is None
                or maker.op_type in ("DequantizeLinear", "QLinearConv")
                or maker.output[0] in still
            ):
                continue
            seen = maker.op_type == "Conv"
            waiting += maker.input
        # Not the bytes of the picture itself, which go to its end by way of a Slice.
        if seen and takers & {"DequantizeLinear", "QLinearConv", "Transpose", "Concat"}:
            found.append(node.output[0])
    return found


def differences(
    fake: ModuleType, model: ModelProto, emulated: ModelProto, inputs: dict[str, NDArray[np.generic]]
) -> NDArray[np.int16]:
    """In grey levels, between a graph and one emulated.

    What the context alone decides is taken from ONNX Runtime: the mean of its thumbnails is summed in another
    order in torch, and where that turns a level of the bytes every pixel of that byte is another.
    """
    watched = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {value.name: value for value in watched.graph.value_info}
    graph = Graph(watched)
    context = context_tensors(graph)
    # Not the weights, whose levels are dequantized in the graph: that is what is looked at.
    still = [
        name
        for name in context.intersection(types).intersection(graph.producer)
        if graph.producer[name].op_type != "DequantizeLinear"
    ]
    levels = levels_of_floats(graph, context)
    watched.graph.output.extend(types[name] for name in [*still, *levels])
    fused, *decided = open_bytes(watched).run([FUSED, *still, *levels], inputs)
    given = dict(zip([*still, *levels], decided, strict=True))
    made = fake.run(
        emulated, inputs, {name: given[name] for name in still}, {name: given[name] for name in levels}
    )
    plain = open_bytes(model).run([FUSED], inputs)[0]
    assert (plain != fused).mean() <= (MAX_OWN_SHARE if levels else 0.0)
    found: NDArray[np.int16] = np.abs(fused[0, 0].astype(np.int16) - made.astype(np.int16))
    return found


@pytest.mark.parametrize("name", ["tiny", "tiny_fine"])
def test_emitted_graphs_agree(
    name: str, request: pytest.FixtureRequest, fake: ModuleType, make_inputs: Inputs
) -> None:
    model: ModelProto = request.getfixturevalue(name)
    inputs = [make_inputs(seed, 96, 128) for seed in range(3)]
    rounded = round_weights(model, inputs)
    names = quantized_tensors(model)
    _, bounds = observe(model, names, inputs, extremes())
    made = {
        "int8": quantize(model, {name: Range(*bounds[name]) for name in names}, rounded),
        "int8-trt": to_trt(plan_trt(model, inputs, extremes(), rounded)),
    }
    for graph in made.values():
        for seed in (20, 21):
            assert differences(fake, graph, graph, make_inputs(seed, 96, 128)).max() <= MAX_LSB


def test_a_wrong_scale_is_seen(tiny: ModelProto, fake: ModuleType, make_inputs: Inputs) -> None:
    """A fiftieth of one tensor's step: no test that passes would say anything otherwise."""
    inputs = [make_inputs(0, 96, 128)]
    graph = to_trt(plan_trt(tiny, inputs, extremes(), round_weights(tiny, inputs)))
    other = ModelProto.FromString(graph.SerializeToString())
    step = next(node for node in other.graph.node if node.op_type == "DequantizeLinear").input[1]
    tensor = next(tensor for tensor in other.graph.initializer if tensor.name == step)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.02), step))
    with pytest.raises(AssertionError):
        assert differences(fake, graph, other, inputs[0]).max() <= MAX_LSB


@pytest.mark.slow
@pytest.mark.parametrize("model", ["irvis-n", "irvis-s", "irvis-m"])
@pytest.mark.parametrize("precision", ["int8", "int8-trt", "int8-fp16-trt"])
def test_shipped_files_agree_on_val(
    model: str, precision: str, fake: ModuleType, shared: Path, tolerances: Mapping[str, float]
) -> None:
    """On every picture of val; FP16's 2 levels to FP32 are asserted with it."""
    model_dir = find_model_dir(model)
    manifest = load_manifest(model_dir)
    if precision not in manifest.files:
        pytest.skip(f"{model} ships no {precision}: the gate refused it")
    graphs = {
        name: onnx.load(checked_model_path(model_dir, manifest, name)) for name in (precision, "fp16", "fp32")
    }
    half, full = open_bytes(graphs["fp16"]), open_bytes(graphs["fp32"])
    for pair in find_dataset_pairs(shared / "data" / "val"):
        infrared, visible = read_pair(pair)
        inputs: dict[str, NDArray[np.generic]] = {
            INFRARED: infrared[None, None],
            VISIBLE: visible[None, None],
            CONTEXT: make_context(infrared, visible),
        }
        found = differences(fake, graphs[precision], graphs[precision], inputs)
        assert found.max() <= MAX_LSB, pair.name
        fused, expected = (session.run([FUSED], inputs)[0].astype(np.int16) for session in (half, full))
        assert np.abs(fused - expected).max() <= tolerances["fp16_max_lsb"], pair.name
