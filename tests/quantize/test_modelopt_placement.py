"""Where Q and DQ stand, beside what nvidia-modelopt puts into the same FP32 graph.

    pip install --no-deps nvidia-modelopt onnxscript onnx_ir
    pip install omegaconf pulp pydantic PyYAML ninja regex rich tqdm nvidia-ml-py lief cppimport \\
        onnx_graphsurgeon polygraphy onnxslim onnxconverter-common scipy

Not its extra `[onnx]`, which asks for ONNX Runtime and CuPy for GPUs. Made with nvidia-modelopt 0.47.0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto

from irvis_export.graph import Graph
from irvis_quantize.examples import extremes
from irvis_quantize.layers import context_tensors, quantized_layers
from irvis_quantize.rounding import round_weights
from irvis_quantize.trt import plan_trt, to_trt
from irvis_runtime.shipped_models import find_model_dir

Inputs = Callable[[int, int, int], dict[str, NDArray[np.generic]]]
Places = dict[str, set[int]]
"""By a node's name, the numbers of its inputs that are dequantized levels."""

AROUND_CONVOLUTIONS = {"Add", "Mul", "Concat", "Resize"}
"""modelopt quantizes these too (modulations, the blend, what the context decides), irvis does not."""


def places(model: ModelProto) -> Places:
    graph = Graph(model)
    found: Places = {}
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            maker = graph.producer.get(name)
            if maker is not None and maker.op_type == "DequantizeLinear":
                found.setdefault(node.name, set()).add(position)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["irvis-n", "irvis-s", "irvis-m"])
def test_convolutions_and_sums_take_levels_where_modelopt_has_them(
    name: str, make_inputs: Inputs, tmp_path: Path
) -> None:
    modelopt = pytest.importorskip(
        "modelopt.onnx.quantization", reason="needs nvidia-modelopt, which irvis does not depend on"
    )
    source = find_model_dir(name) / "model.onnx"
    model, inputs = onnx.load(source), make_inputs(1, 96, 128)
    modelopt.quantize(
        str(source),
        quantize_mode="int8",
        calibration_data=inputs,
        calibration_method="max",
        calibration_eps=["cpu"],
        calibration_shapes=",".join(
            f"{port}:{'x'.join(map(str, array.shape))}" for port, array in inputs.items()
        ),
        high_precision_dtype="fp32",
        output_path=str(tmp_path / "theirs.onnx"),
    )
    theirs = places(onnx.load(tmp_path / "theirs.onnx"))
    ours = places(to_trt(plan_trt(model, [inputs], extremes(), round_weights(model, [inputs]))))
    # Each of ours is one of theirs, weights included.
    assert len(ours) > 10
    for node, positions in ours.items():
        assert positions <= theirs.get(node, set()), node
    # No convolution of pictures that they quantize is left out but those in front of a sigmoid.
    graph = Graph(model)
    still, layers = context_tensors(graph), {layer.conv.name for layer in quantized_layers(graph)}
    kinds = {node.name: node for node in model.graph.node}
    for place in theirs.keys() - ours.keys():
        node = kinds[place]
        is_last = node.op_type == "Conv" and node.name.endswith("back/last/Conv")
        assert node.op_type in AROUND_CONVOLUTIONS or node.input[0] in still or is_last, place
    assert layers <= ours.keys()
