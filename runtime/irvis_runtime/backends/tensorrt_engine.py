"""Runs one engine at one picture size: buffers allocated once, a warm-up, then a CUDA graph."""

from __future__ import annotations

import ctypes
import logging
import math
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import BackendError

from .cudart import Cudart
from .tensorrt_api import failure, message_log, reporting

_log = logging.getLogger(__name__)
_ADVICE = "take another precision or the backend onnxruntime"
_MEMORY_ADVICE = "free some memory (close other programs, add swap)"
# TensorRT's names of the types that the contract's ports have.
_DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FLOAT": np.dtype(np.float32)}


class PortBuffer:
    """The memory of one port: pinned on the host, and the device's view of it or a copy on the device.

    `is_mapped`: the device works in the host's memory, which costs nothing where both share it (Jetson).
    """

    def __init__(self, cuda: Cudart, shape: tuple[int, ...], dtype: np.dtype[Any], is_mapped: bool) -> None:
        self._cuda, self._is_mapped = cuda, is_mapped
        self._size_bytes = math.prod(shape) * dtype.itemsize
        with ExitStack() as stack:
            self._host = cuda.allocate_host(self._size_bytes)
            stack.callback(cuda.free_host, self._host)
            if is_mapped:
                self.device = cuda.device_address(self._host)
            else:
                self.device = cuda.allocate_device(self._size_bytes)
                stack.callback(cuda.free_device, self.device)
            self._owned = stack.pop_all()
        memory = (ctypes.c_uint8 * self._size_bytes).from_address(self._host)
        self.array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype).reshape(shape)
        self.array[...] = 0

    def upload(self, stream: int) -> None:
        """Queues what brings the host's bytes to the device."""
        if not self._is_mapped:
            self._cuda.copy_to_device(self.device, self._host, self._size_bytes, stream)

    def download(self, stream: int) -> None:
        """Queues what brings the device's bytes to the host."""
        if not self._is_mapped:
            self._cuda.copy_to_host(self._host, self.device, self._size_bytes, stream)

    def close(self) -> None:
        """Frees the memory; `array` must not be touched again."""
        self._owned.close()


class SizedEngine:
    """An engine with its context, buffers and CUDA graph for inputs of fixed shapes.

    `shapes`: of the inputs by port name. `is_mapped`: see PortBuffer. BackendError where the engine's ports
    are others or memory is short; then nothing is held.
    """

    def __init__(
        self, trt: Any, cuda: Cudart, engine: Any, shapes: Mapping[str, tuple[int, ...]], is_mapped: bool
    ) -> None:
        self._trt, self._cuda, self._engine = trt, cuda, engine
        self._messages = message_log(trt)
        self._inputs: dict[str, PortBuffer] = {}
        self._outputs: dict[str, PortBuffer] = {}
        self._executable: int | None = None
        with reporting(self._messages, "prepare the engine", _MEMORY_ADVICE), ExitStack() as stack:
            self._stream = cuda.create_stream()
            stack.callback(cuda.destroy_stream, self._stream)
            self._context = engine.create_execution_context()
            if self._context is None:
                raise failure(self._messages.errors, "make an execution context", _MEMORY_ADVICE)
            stack.callback(self._drop_context)
            self._bind(stack, shapes, is_mapped)
            # The warm-up settles the shapes and loads the kernels, which a capture must not do.
            self._enqueue()
            cuda.synchronize(self._stream)
            self._capture(stack)
            self._owned = stack.pop_all()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs, in memory of their own, for inputs of the promised shapes and types."""
        for name, buffer in self._inputs.items():
            np.copyto(buffer.array, inputs[name], casting="no")
        if self._executable is None:
            self._messages.errors.clear()
            self._enqueue()
        else:
            self._cuda.launch(self._executable, self._stream)
        self._cuda.synchronize(self._stream)
        return {name: buffer.array.copy() for name, buffer in self._outputs.items()}

    def close(self) -> None:
        """Frees all that is held; a second call does nothing."""
        self._inputs, self._outputs, self._executable = {}, {}, None
        self._owned.close()

    def _bind(self, stack: ExitStack, shapes: Mapping[str, tuple[int, ...]], is_mapped: bool) -> None:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        is_input = self._trt.TensorIOMode.INPUT
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == is_input]
        if sorted(inputs) != sorted(shapes):
            raise BackendError(
                f"expected an engine with the inputs {sorted(shapes)}, got {sorted(inputs)}; {_ADVICE}"
            )
        for name in inputs:
            if not self._context.set_input_shape(name, shapes[name]):
                raise failure(self._messages.errors, f"take {name} of shape {shapes[name]}", _ADVICE)
        for name in names:
            buffer = PortBuffer(self._cuda, self._shape(name), self._dtype(name), is_mapped)
            stack.callback(buffer.close)
            (self._inputs if name in inputs else self._outputs)[name] = buffer
            if not self._context.set_tensor_address(name, buffer.device):
                raise failure(self._messages.errors, f"take the memory of {name}", _ADVICE)

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if min(shape, default=1) < 1:
            raise BackendError(f"{name}: expected an engine with a fixed shape, got {shape}; {_ADVICE}")
        return shape

    def _dtype(self, name: str) -> np.dtype[Any]:
        dtype = str(self._engine.get_tensor_dtype(name).name)
        if dtype not in _DTYPES:
            known = " or ".join(_DTYPES)
            raise BackendError(f"{name}: expected an engine with the type {known}, got {dtype}; {_ADVICE}")
        return _DTYPES[dtype]

    def _enqueue(self) -> None:
        for buffer in self._inputs.values():
            buffer.upload(self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise failure(self._messages.errors, "run the engine", _ADVICE)
        for buffer in self._outputs.values():
            buffer.download(self._stream)

    def _capture(self, stack: ExitStack) -> None:
        """Records copies and engine as a graph; without one each call queues them anew, only slower."""
        try:
            executable = self._recorded()
        except BackendError as error:
            _log.warning("no CUDA graph, the engine is queued call by call: %s", error)
            return
        stack.callback(self._cuda.destroy_executable, executable)
        self._executable = executable

    def _recorded(self) -> int:
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue()
        except BackendError:
            # Ended in any case, or the stream would record for ever.
            with suppress(BackendError):
                self._cuda.destroy_graph(self._cuda.end_capture(self._stream))
            raise
        graph = self._cuda.end_capture(self._stream)
        try:
            return self._cuda.instantiate(graph)
        finally:
            self._cuda.destroy_graph(graph)

    def _drop_context(self) -> None:
        self._context = None
        self._engine = None
