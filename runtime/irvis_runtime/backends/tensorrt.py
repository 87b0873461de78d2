"""TensorRT on an NVIDIA GPU. It has never run on a GPU or a board, only against stand-ins for both."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.model_files.ports import INFRARED, INPUT_PORTS

from .cudart import NO_DEVICE, Cudart, has_device, open_cudart
from .engine_cache import EngineCache, open_cache
from .tensorrt_api import import_tensorrt
from .tensorrt_build import DEFAULT_OPTIONS, BuildOptions, EngineBuilder, read_model
from .tensorrt_engine import InFlight, SizedEngine

MAX_SIZES = 4


def why_not() -> str:
    """Returns in a few words why TensorRT cannot run here, nothing where it can; never raises."""
    try:
        import_tensorrt()
    except BackendError as error:
        # What to do about it is for who asks for TensorRT by name.
        return str(error).partition("; ")[0].partition(" (")[0]
    return "" if has_device() else NO_DEVICE


class TensorRtSession:
    """Runs one ONNX file with TensorRT; the engine of a picture size is built or loaded at its first picture.

    The engines of the last four sizes are kept ready; threads take turns. `cuda` and `cache`: None takes this
    machine's. BackendError where TensorRT or a GPU is missing, ContractError for an unreadable model.
    """

    def __init__(
        self,
        model: Path,
        *,
        options: BuildOptions = DEFAULT_OPTIONS,
        cuda: Cudart | None = None,
        cache: EngineCache | None = None,
    ) -> None:
        self._trt = import_tensorrt()
        self._cuda = open_cudart() if cuda is None else cuda
        gpu = self._cuda.gpu()
        self._is_mapped = gpu.is_integrated
        self.versions: dict[str, str] = {"tensorrt": str(self._trt.__version__), "cuda": gpu.cuda}
        self.model, self.options = model, options
        self.cache = open_cache() if cache is None else cache
        self._builder: EngineBuilder | None = EngineBuilder(
            self._trt, self._cuda, read_model(model), self.cache, options
        )
        self._sizes: OrderedDict[tuple[int, int], SizedEngine] = OrderedDict()
        self._lock = threading.Lock()

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs by port name for inputs by port name."""
        size_hw = checked_size(inputs)
        with self._lock:
            return self._sized(size_hw).submit(inputs).collect()

    def submit(self, inputs: Mapping[str, NDArray[Any]]) -> InFlight:
        """Queues a picture on the GPU and returns at once; the inputs may change then.

        BackendError where two pictures of this size wait to be collected.
        """
        size_hw = checked_size(inputs)
        with self._lock:
            return self._sized(size_hw).submit(inputs)

    def is_ready(self, size_hw: tuple[int, int]) -> bool:
        """Returns whether pictures of (H, W) run at once, without an engine being built or loaded first."""
        return size_hw in self._sizes

    def load(self, size_hw: tuple[int, int], cache: EngineCache | None = None) -> bool:
        """Makes the engine for pictures of (H, W) ready where a cache has it; returns whether it is.

        `cache`: None takes the session's own.
        """
        engine = self._open_builder().cached_engine(size_hw, self.cache if cache is None else cache)
        if engine is None:
            return False
        sized = self._made(size_hw, engine)
        with self._lock, ExitStack() as stack:
            stack.callback(sized.close)
            self._open_builder()
            if size_hw in self._sizes:
                return True
            self._make_room()
            self._sizes[size_hw] = sized
            stack.pop_all()
        return True

    def drop(self, size_hw: tuple[int, int]) -> None:
        """Frees the engine for pictures of (H, W), which is loaded or built again when it is wanted."""
        with self._lock:
            sized = self._sizes.pop(size_hw, None)
            if sized is not None:
                sized.close()

    def _sized(self, size_hw: tuple[int, int]) -> SizedEngine:
        builder = self._open_builder()
        if size_hw not in self._sizes:
            # Room is made first: a build wants all the memory that it can get.
            self._make_room()
            self._sizes[size_hw] = self._made(size_hw, builder.engine(size_hw))
        self._sizes.move_to_end(size_hw)
        return self._sizes[size_hw]

    def _made(self, size_hw: tuple[int, int], engine: Any) -> SizedEngine:
        sizes = dict(zip("HW", size_hw, strict=True))
        shapes = {
            port.name: tuple(sizes[size] if isinstance(size, str) else size for size in port.shape)
            for port in INPUT_PORTS
        }
        return SizedEngine(self._trt, self._cuda, engine, shapes, self._is_mapped)

    def _make_room(self) -> None:
        while len(self._sizes) >= MAX_SIZES:
            self._sizes.popitem(last=False)[1].close()

    def _open_builder(self) -> EngineBuilder:
        if self._builder is None:
            raise BackendError("this TensorRT session is closed; make a new one")
        return self._builder

    def close(self) -> None:
        """Frees engines, buffers and graphs; a second call does nothing."""
        with self._lock, ExitStack() as stack:
            self._builder = None
            for sized in self._sizes.values():
                stack.callback(sized.close)
            self._sizes.clear()

    def __enter__(self) -> TensorRtSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checked_size(inputs: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """Returns (H, W) of the pictures; ContractError unless the inputs are exactly those of the contract."""
    expected = {port.name: port for port in INPUT_PORTS}
    if sorted(inputs) != sorted(expected):
        raise ContractError(
            f"expected the inputs {', '.join(expected)}, got {', '.join(inputs) or 'none'}; name each once"
        )
    height, width = inputs[INFRARED].shape[-2:] if inputs[INFRARED].ndim == 4 else (0, 0)
    sizes: dict[int | str, int] = {"H": height, "W": width}
    for name, port in expected.items():
        array = inputs[name]
        shape = tuple(sizes.get(size, size) for size in port.shape)
        if array.shape != shape or array.dtype != port.dtype:
            raise ContractError(
                f"expected {port} of equal sizes, got {array.dtype} {array.shape}; convert it first"
            )
    return height, width
