"""OpenVINO on the CPU, where the optional package is installed: FP32 faster than ONNX Runtime on x86."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import BackendError
from irvis_runtime.model_files.ports import INPUT_PORTS

from .engine_cache import EngineCache, open_cache
from .session import Computed
from .tensorrt_api import one_line

INSTALL = "install it with `pip install openvino`"
MAX_SIZES = 4


class OpenVinoSession:
    """Runs one ONNX file with OpenVINO's CPU plugin, compiled for each picture size at its first picture.

    Fixed sizes are an eighth faster than open ones; those of the last four are kept, and compiled forms are
    cached on disk. Threads take turns. `threads`: None takes the cores that this process may use. `cache`:
    None takes this machine's.
    """

    def __init__(self, model: Path, threads: int | None = None, cache: EngineCache | None = None) -> None:
        ov = import_openvino()
        self._core: Any = ov.Core()
        self._properties = _properties(threads, open_cache() if cache is None else cache)
        self._lock = threading.Lock()
        self._sizes: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        try:
            self._model: Any = self._core.read_model(str(model))
        except Exception as error:
            raise BackendError(
                f"{model}: OpenVINO {_version(ov)} cannot load it ({one_line(str(error))})"
            ) from error
        self.versions = {"openvino": _version(ov)}
        self._outputs = [str(output.get_any_name()) for output in self._model.outputs]

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs by port name for inputs by port name."""
        with self._lock:
            if self._model is None:
                raise BackendError("this OpenVINO session is closed; open a new one")
            try:
                found = self._request(inputs).infer(dict(inputs), share_inputs=True)
            except Exception as error:
                raise BackendError(f"OpenVINO failed ({one_line(str(error))})") from error
            # The arrays are the request's own memory, which the next picture overwrites.
            return {name: np.array(found[name]) for name in self._outputs}

    def submit(self, inputs: Mapping[str, NDArray[Any]]) -> Computed:
        """Computes at once."""
        return Computed(self.infer(inputs))

    def close(self) -> None:
        """Frees the network."""
        with self._lock:
            self._sizes.clear()
            self._model = self._core = None

    def __enter__(self) -> OpenVinoSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, inputs: Mapping[str, NDArray[Any]]) -> Any:
        """The compiled network for inputs of these shapes and types; OpenVINO itself would convert others."""
        for port in INPUT_PORTS:
            array = inputs[port.name]
            if array.dtype != port.dtype:
                raise ValueError(f"{port.name}: expected {port.dtype}, got {array.dtype}")
        shapes = {port.name: list(inputs[port.name].shape) for port in INPUT_PORTS}
        key = tuple(size for shape in shapes.values() for size in shape)
        if key not in self._sizes:
            while len(self._sizes) >= MAX_SIZES:
                self._sizes.popitem(last=False)
            model = self._model.clone()
            model.reshape(shapes)
            compiled = self._core.compile_model(model, "CPU", self._properties)
            self._sizes[key] = compiled.create_infer_request()
        self._sizes.move_to_end(key)
        return self._sizes[key]


def import_openvino() -> Any:
    """Returns the module openvino; BackendError where it is missing or broken."""
    try:
        return import_module("openvino")
    except ImportError as error:
        raise BackendError(f"OpenVINO is missing ({error}); {INSTALL}") from error


def why_not() -> str:
    """Returns in a few words why OpenVINO cannot run here, nothing where it can; never raises."""
    try:
        import_openvino()
    except BackendError as error:
        return str(error).partition("; ")[0].partition(" (")[0]
    return ""


def _properties(threads: int | None, cache: EngineCache) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or len(os.sched_getaffinity(0)),
        # Where the CPU has bfloat16 it would be the default: slower here and off by 2 levels.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if cache.folder is not None:
        properties["CACHE_DIR"] = str(cache.folder / "openvino")
    return properties


def _version(ov: Any) -> str:
    return str(ov.__version__).partition("-")[0]
