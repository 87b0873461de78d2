"""ONNX Runtime: on the CPU wherever there is no TensorRT, and through its CUDA and TensorRT providers.

The two providers for NVIDIA GPUs have never run, only against a stand-in for the module.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from irvis_runtime.errors import BackendError

from .cudart import NO_DEVICE, has_device
from .engine_cache import EngineCache, open_cache
from .session import Computed
from .tensorrt_build import available_bytes, read_model, workspace_bytes

INSTALL = "install it with `pip install onnxruntime`"
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

Provider = str | tuple[str, dict[str, str]]


class OnnxRuntimeSession:
    """Runs one ONNX file with ONNX Runtime.

    `threads`: intra-operator threads; None takes the cores that this process may use. `provider`: CPU, CUDA
    or TENSORRT; BackendError where it does not load, another one is never taken in its stead. `cache`: where
    the TensorRT provider keeps its engines, None takes this machine's.
    """

    def __init__(
        self,
        model: Path,
        threads: int | None = None,
        provider: str = CPU,
        cache: EngineCache | None = None,
    ) -> None:
        ort = import_onnxruntime()
        ort.disable_telemetry_events()
        try:
            providers = _providers(ort, provider, model, cache)
            # Else ONNX Runtime goes on with another provider, here and in every run.
            self._session: Any = ort.InferenceSession(
                str(model), _options(ort, threads), providers=providers, enable_fallback=0
            )
            self._session.disable_fallback()
        except BackendError:
            raise
        except Exception as error:
            # ONNX Runtime raises exceptions of its own that share no base class.
            raise BackendError(
                f"{model}: ONNX Runtime {ort.__version__} cannot load it ({_first_line(error)})"
            ) from error
        active = self._session.get_providers()
        if active[0] != provider:
            raise BackendError(
                f"ONNX Runtime's {provider} does not load, only {', '.join(active)}; install the CUDA, cuDNN "
                "and TensorRT that onnxruntime-gpu was built for or take the backend onnxruntime"
            )
        self.versions = {"onnxruntime": str(ort.__version__)}
        self._outputs = [output.name for output in self._session.get_outputs()]

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the outputs by port name for inputs by port name."""
        if self._session is None:
            raise BackendError("this ONNX Runtime session is closed; open a new one")
        try:
            values = self._session.run(self._outputs, dict(inputs))
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed ({_first_line(error)})") from error
        return dict(zip(self._outputs, values, strict=True))

    def submit(self, inputs: Mapping[str, NDArray[Any]]) -> Computed:
        """Computes at once."""
        return Computed(self.infer(inputs))

    def close(self) -> None:
        """Frees the session."""
        self._session = None

    def __enter__(self) -> OnnxRuntimeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def import_onnxruntime() -> Any:
    """Returns the module onnxruntime; BackendError where it is missing or broken."""
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise BackendError(f"ONNX Runtime is missing ({error}); {INSTALL}") from error


def why_not(provider: str = CPU) -> str:
    """Returns in a few words why a provider cannot run here, nothing where it may; never raises.

    ONNX Runtime names the providers that it was built with; whether one loads shows when a session is opened.
    """
    try:
        ort = import_onnxruntime()
        if provider not in ort.get_available_providers():
            return f"ONNX Runtime has no {provider.removesuffix('ExecutionProvider')} provider"
    except BackendError as error:
        return str(error).partition("; ")[0].partition(" (")[0]
    return "" if provider == CPU or has_device() else NO_DEVICE


def _options(ort: Any, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    # Without the arena irvis-s takes 47 ms instead of 30 at 1280x720. Memory patterns, one a picture size,
    # save no time beside it and cost 12 MiB at 640x480 and 24 at 1280x720 (ONNX Runtime 1.32, 2 threads).
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = False
    # Threads spin between the operators of a run (a tenth of irvis-n's time is saved) but not after it:
    # those of an idle session hold the cores, two sessions that alternate ran 2 to 3 times slower.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _providers(ort: Any, provider: str, model: Path, cache: EngineCache | None) -> list[Provider]:
    if provider == CPU:
        return [CPU]
    if provider not in ort.get_available_providers():
        raise BackendError(
            f"expected an ONNX Runtime with the {provider}, got one with "
            f"{', '.join(ort.get_available_providers())}; install onnxruntime-gpu in its stead or take the "
            "backend onnxruntime"
        )
    if hasattr(ort, "preload_dlls"):
        # Finds the CUDA of NVIDIA's Python packages; what it prints would go into the command's output.
        with redirect_stdout(StringIO()):
            ort.preload_dlls()
    # Searching every algorithm of cuDNN, the default, takes seconds at each new size. TF32 is not FP32.
    cuda: Provider = (CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"})
    if provider == CUDA:
        return [cuda, CPU]
    return [(TENSORRT, _tensorrt_options(model, open_cache() if cache is None else cache)), cuda, CPU]


def _tensorrt_options(model: Path, cache: EngineCache) -> dict[str, str]:
    """Precisions by what the file holds, the memory clamp, and a cache for this very file.

    Switches are "True" or "False": this provider refuses 1 and 0.
    """
    read = read_model(model)
    options = {
        "trt_fp16_enable": str(read.is_typed),
        "trt_int8_enable": str(read.is_quantized),
        "trt_max_workspace_size": str(workspace_bytes(available_bytes())),
    }
    if cache.folder is not None:
        # The provider names an engine by the graph, not by its weights: each file has a folder of its own.
        folder = cache.folder / f"onnxruntime-{read.sha256[:32]}"
        folder.mkdir(parents=True, exist_ok=True)
        options |= {"trt_engine_cache_enable": "True", "trt_timing_cache_enable": "True"}
        options |= {"trt_engine_cache_path": str(folder), "trt_timing_cache_path": str(folder)}
    return options


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
