"""A stand-in for the half of the module tensorrt that runs: its engine gives the larger of both pictures."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


class Runtime:
    def __init__(self, trt: Any) -> None:
        self._trt = trt

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        self._trt.loads += 1
        if self._trt.load_error:
            self._trt.note(self._trt.load_error)
            return None
        try:
            plan = json.loads(serialized_engine)
            assert plan["version"] == self._trt.__version__
        except (ValueError, AssertionError):
            self._trt.note("Serialization assertion stdVersionRead == serializationVersion failed.")
            return None
        return ICudaEngine(self._trt, {name: tuple(shape) for name, shape in plan["shapes"].items()})


class ICudaEngine:
    num_io_tensors = 4

    def __init__(self, trt: Any, shapes: dict[str, tuple[int, ...]]) -> None:
        self._trt = trt
        self._shapes = {**{name: shape for name, (_, shape) in self._trt.ports.items()}, **shapes}
        self._has_first_context = False

    def get_tensor_name(self, index: int) -> Any:
        # Another order than the file's: positions mean nothing.
        return list(reversed(self._trt.ports))[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes: Any = self._trt.TensorIOMode
        return modes.OUTPUT if name == "fused" else modes.INPUT

    def get_tensor_dtype(self, name: str) -> Any:
        types: Any = self._trt.DataType
        return types[self._trt.dtype_of_fused if name == "fused" else self._trt.ports[name][0]]

    def create_execution_context(self) -> IExecutionContext | None:
        if not self._trt.contexts_left:
            self._trt.note("Requested amount of GPU memory could not be allocated.")
            return None
        self._trt.contexts_left -= 1
        context = IExecutionContext(self._trt, self)
        # Profile 0 is the first context's by itself and no other one's.
        context._has_profile = not self._has_first_context
        self._has_first_context = True
        return context


class IExecutionContext:
    def __init__(self, trt: Any, engine: ICudaEngine) -> None:
        self._trt = trt
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._is_warm = self._has_profile = False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert type(stream_handle) is int
        if profile_index != 0 or not self._trt.is_profile_allowed:
            self._trt.note("Setting an optimization profile failed.")
            return False
        self._has_profile = False
        self._trt.cuda.queue(stream_handle, lambda: setattr(self, "_has_profile", True))
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self._has_profile, "choose a profile and wait for it"
        if tuple(shape) != self._engine._shapes[name]:
            self._trt.note(f"Static dimension mismatch while setting input shape for {name}.")
            return False
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Any:
        if name == "fused":
            return self._shapes.get("infrared", self._trt.ports[name][1])
        return self._shapes.get(name, self._engine._shapes[name])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert type(memory) is int
        self._trt.cuda.view(memory)
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        cuda = self._trt.cuda
        assert set(self._addresses) == set(self._trt.ports), "every port wants an address"
        if not self._trt.is_enqueue_allowed:
            return False
        if stream_handle in cuda.recording and not (self._is_warm and self._trt.is_capture_allowed):
            self._trt.note("operation not permitted when stream is capturing")
            return False
        self._is_warm = True
        cuda.queue(stream_handle, self._run)
        return True

    def _run(self) -> None:
        views = {name: self._trt.cuda.view(address) for name, address in self._addresses.items()}
        count = int(np.prod(self._shapes["infrared"]))
        arrays = {
            name: np.frombuffer(views[name], np.uint8, count) for name in ("infrared", "visible", "fused")
        }
        arrays["fused"][...] = np.maximum(arrays["infrared"], arrays["visible"])
