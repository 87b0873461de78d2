"""Sessions on the stand-ins for TensorRT and CUDA, and small models for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from irvis_runtime.backends.cudart import Cudart
from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.backends.tensorrt import TensorRtSession


@pytest.fixture
def fake_classes() -> dict[str, type]:
    """The stand-ins for TensorRT's classes, by their names there."""
    found = {**vars(sys.modules["irvis_tests_fake_tensorrt"]), **vars(sys.modules["irvis_tests_fake_engine"])}
    ours = {"FakeTensorRt", "Strict"}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and value.__module__.startswith("irvis_tests") and name not in ours
    }


@pytest.fixture
def open_session(tmp_path: Path) -> Callable[..., TensorRtSession]:
    """Opens a session on a stand-in with an engine cache below tmp_path."""

    def open_(model: Path, cuda: Any, **options: Any) -> TensorRtSession:
        cache = EngineCache(tmp_path / "engines")
        return TensorRtSession(model, cuda=Cudart(cuda), cache=cache, **options)

    return open_


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX file with the contract's ports; opset 19 stands for FP16 in the graph."""

    def write(opset: int = 17, is_quantized: bool = False, name: str = "model.onnx") -> Path:
        nodes = [helper.make_node("Max", ["infrared", "visible"], ["fused"])]
        if is_quantized:
            nodes.append(helper.make_node("QuantizeLinear", ["context", "scale"], ["levels"]))
        shape: list[str | int | None] = [1, 1, "H", "W"]
        pictures = [
            helper.make_tensor_value_info(port, TensorProto.UINT8, shape) for port in ("infrared", "visible")
        ]
        graph = helper.make_graph(
            nodes,
            "fake",
            [*pictures, helper.make_tensor_value_info("context", TensorProto.FLOAT, [1, 2, 64, 64])],
            [helper.make_tensor_value_info("fused", TensorProto.UINT8, shape)],
            [helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def make_inputs() -> Callable[..., dict[str, Any]]:
    """Random pictures of (H, W) and their context, by port name."""

    def make(height: int = 24, width: int = 32, seed: int = 0) -> dict[str, Any]:
        generator = np.random.default_rng(seed)
        pictures = generator.integers(0, 256, (2, 1, 1, height, width), np.uint8)
        context = generator.random((1, 2, 64, 64), np.float32)
        return {"infrared": pictures[0], "visible": pictures[1], "context": context}

    return make
