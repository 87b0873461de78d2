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
from onnx import ModelProto

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
# A level that falls to the other side of a half somewhere inside moves some pixels by more than one level:
# sums of floats are made in another order. That is so rare that a wrong place of a Q/DQ cannot hide in it.
MAX_SHARE_BEYOND_1_LSB = 1e-4
# Of trained weights: the blend's reach 60, so that a level more or less inside shows. On parts of three
# pictures irvis-n's and irvis-m's INT8 agreed to the bit, irvis-s's (a Resize of floats) to 0.5 %, its
# int8-trt to 3 %.
MAX_SHIPPED_SHARE_BEYOND_1_LSB = 0.05


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    path = Path(__file__).with_name("fake_quantization.py")
    spec = importlib.util.spec_from_file_location("fake_quantization", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(
    fake: ModuleType, model: ModelProto, emulated: ModelProto, inputs: dict[str, NDArray[np.generic]]
) -> NDArray[np.int16]:
    """In grey levels, between a graph and one emulated.

    What the context alone decides is taken from ONNX Runtime: the mean of its thumbnails is summed in another
    order in torch, and where that turns a level of the bytes every pixel of that byte is another.
    """
    watched = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {value.name: value for value in watched.graph.value_info}
    still = [name for name in context_tensors(Graph(watched)) if name in types]
    watched.graph.output.extend(types[name] for name in still)
    fused, *decided = open_bytes(watched).run([FUSED, *still], inputs)
    made = fake.run(emulated, inputs, dict(zip(still, decided, strict=True)))
    found: NDArray[np.int16] = np.abs(fused[0, 0].astype(np.int16) - made.astype(np.int16))
    return found


def check(fake: ModuleType, model: ModelProto, inputs: dict[str, NDArray[np.generic]]) -> None:
    assert (differences(fake, model, model, inputs) > 1).mean() <= MAX_SHARE_BEYOND_1_LSB


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
            check(fake, graph, make_inputs(seed, 96, 128))


def test_a_wrong_scale_is_seen(tiny: ModelProto, fake: ModuleType, make_inputs: Inputs) -> None:
    """A fiftieth of one tensor's step: no test that passes would say anything otherwise."""
    inputs = [make_inputs(0, 96, 128)]
    graph = to_trt(plan_trt(tiny, inputs, extremes(), round_weights(tiny, inputs)))
    other = ModelProto.FromString(graph.SerializeToString())
    step = next(node for node in other.graph.node if node.op_type == "DequantizeLinear").input[1]
    tensor = next(tensor for tensor in other.graph.initializer if tensor.name == step)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.02), step))
    assert (differences(fake, graph, other, inputs[0]) > 1).mean() > MAX_SHARE_BEYOND_1_LSB


@pytest.mark.slow
@pytest.mark.parametrize("model", ["irvis-n", "irvis-s", "irvis-m"])
@pytest.mark.parametrize("precision", ["int8", "int8-trt"])
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
        assert (found > 1).mean() <= MAX_SHIPPED_SHARE_BEYOND_1_LSB, pair.name
        fused, expected = (session.run([FUSED], inputs)[0].astype(np.int16) for session in (half, full))
        assert np.abs(fused - expected).max() <= tolerances["fp16_max_lsb"], pair.name
