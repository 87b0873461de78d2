"""ONNX Runtime on the CPU: the backend wherever there is no TensorRT."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from irvis_runtime.errors import BackendError

INSTALL = "install it with `pip install onnxruntime`"


class OnnxRuntimeSession:
    """Runs one ONNX file with ONNX Runtime's CPU kernels.

    `threads`: intra-operator threads; None takes the cores that this process may use.
    """

    def __init__(self, model: Path, threads: int | None = None) -> None:
        try:
            ort = import_module("onnxruntime")
        except ImportError as error:
            raise BackendError(f"ONNX Runtime is missing ({error}); {INSTALL}") from error
        ort.disable_telemetry_events()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.log_severity_level = 3
        # Threads spin between the operators of a run (a tenth of irvis-n's time is saved) but not after it:
        # those of an idle session hold the cores, two sessions that alternate ran 2 to 3 times slower.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session: Any = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime raises exceptions of its own that share no base class.
            raise BackendError(
                f"{model}: ONNX Runtime {ort.__version__} cannot load it ({_first_line(error)})"
            ) from error
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

    def close(self) -> None:
        """Frees the session."""
        self._session = None

    def __enter__(self) -> OnnxRuntimeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]
