"""Stand-ins for TensorRT and CUDA, and small models for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from irvis_runtime.backends.cudart import Cudart
from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.backends.tensorrt import TensorRtSession


def _beside(name: str) -> ModuleType:
    spec = spec_from_file_location(f"irvis_tests_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FAKE_CUDA = _beside("fake_cuda")
FAKE_TENSORRT = _beside("fake_tensorrt")
FAKE_ENGINE = _beside("fake_engine")


@pytest.fixture
def fake_classes() -> dict[str, type]:
    """The stand-ins for TensorRT's classes, by their names there."""
    found = {**vars(FAKE_TENSORRT), **vars(FAKE_ENGINE)}
    ours = {"FakeTensorRt", "Strict"}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type) and value.__module__.startswith("irvis_tests") and name not in ours
    }


@pytest.fixture
def make_cuda() -> Callable[..., Any]:
    return FAKE_CUDA.FakeCuda  # type: ignore[no-any-return]


@pytest.fixture
def cuda(make_cuda: Callable[..., Any]) -> Any:
    """A board whose GPU shares the CPU's memory."""
    return make_cuda()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Any]:
    """Puts the stand-in of a TensorRT version where `import tensorrt` finds it, and returns it."""

    def put(version: str, cuda: Any) -> Any:
        trt = FAKE_TENSORRT.FakeTensorRt(version, cuda, FAKE_ENGINE.Runtime)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        return trt

    return put


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
