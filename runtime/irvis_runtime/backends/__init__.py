"""What runs the network: one module per engine, each with a session of the same form."""

from __future__ import annotations

from pathlib import Path

from . import onnxruntime
from .choice import Backend
from .onnxruntime import OnnxRuntimeSession
from .openvino import OpenVinoSession
from .session import Session
from .tensorrt import TensorRtSession

_PROVIDERS = {
    "onnxruntime": onnxruntime.CPU,
    "onnxruntime-cuda": onnxruntime.CUDA,
    "onnxruntime-tensorrt": onnxruntime.TENSORRT,
}


def open_session(backend: Backend, model: Path, threads: int | None) -> Session:
    """Loads a checked model file with a backend; `threads` is for the CPU alone."""
    if backend == "tensorrt":
        return TensorRtSession(model)
    if backend == "openvino":
        return OpenVinoSession(model, threads)
    return OnnxRuntimeSession(model, threads, _PROVIDERS[backend])
