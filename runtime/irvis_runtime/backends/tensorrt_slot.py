"""One of the pictures that an engine works on at a time: its context, buffers, CUDA graph and event."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import BackendError

from .cudart import Cudart
from .tensorrt_api import failure, message_log, reporting
from .tensorrt_buffers import PortBuffer

_log = logging.getLogger(__name__)
_ADVICE = "take another precision or the backend onnxruntime"
_MEMORY_ADVICE = "free some memory (close other programs, add swap)"
# TensorRT's names of the types that the contract's ports have.
_DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype(np.uint8), "FLOAT": np.dtype(np.float32)}


class EngineSlot:
    """An engine's context, buffers allocated once, and after a warm-up its CUDA graph.

    Its work is queued on `stream`, which outlives it. `shapes`: of the inputs by port name. `is_mapped`: see
    PortBuffer. BackendError where the engine's ports are others or memory is short; then nothing is held.
    """

    def __init__(
        self,
        trt: Any,
        cuda: Cudart,
        engine: Any,
        shapes: Mapping[str, tuple[int, ...]],
        is_mapped: bool,
        stream: int,
    ) -> None:
        self._trt, self._cuda, self._engine, self._stream = trt, cuda, engine, stream
        self._messages = message_log(trt)
        self._inputs: dict[str, PortBuffer] = {}
        self._outputs: dict[str, PortBuffer] = {}
        self._executable: int | None = None
        self.is_busy = False
        """Whether a picture was started and not yet finished."""
        with reporting(self._messages, "prepare the engine", _MEMORY_ADVICE), ExitStack() as stack:
            self._context = engine.create_execution_context()
            if self._context is None:
                raise failure(self._messages.errors, "make an execution context", _MEMORY_ADVICE)
            stack.callback(self._drop_context)
            self._choose_profile()
            self._done = cuda.create_event()
            stack.callback(cuda.destroy_event, self._done)
            self._bind(stack, shapes, is_mapped)
            # The warm-up settles the shapes and loads the kernels, which a capture must not do.
            self._enqueue()
            cuda.synchronize(self._stream)
            self._capture(stack)
            self._owned = stack.pop_all()

    def start(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Queues the work on a copy of the inputs, which have the promised shapes and types."""
        for name, buffer in self._inputs.items():
            np.copyto(buffer.array, inputs[name], casting="no")
        if self._executable is None:
            self._messages.errors.clear()
            self._enqueue()
        else:
            self._cuda.launch(self._executable, self._stream)
        self._cuda.record_event(self._done, self._stream)
        self.is_busy = True

    def finish(self) -> dict[str, NDArray[Any]]:
        """Waits for what was started, and for nothing after it; the outputs are in memory of their own."""
        try:
            self._cuda.wait_for_event(self._done)
            return {name: buffer.array.copy() for name, buffer in self._outputs.items()}
        finally:
            self.is_busy = False

    def close(self) -> None:
        """Frees all that is held; nothing may be queued on the stream any more."""
        self._inputs, self._outputs, self._executable = {}, {}, None
        self._owned.close()

    def _choose_profile(self) -> None:
        """Takes the engine's one profile, which only an engine's first context has by itself.

        Contexts share a profile since TensorRT 10. Choosing it may queue copies, which have to be over before
        the engine is queued.
        """
        if not self._context.set_optimization_profile_async(0, self._stream):
            raise failure(self._messages.errors, "take the engine's optimization profile", _ADVICE)
        self._cuda.synchronize(self._stream)

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
