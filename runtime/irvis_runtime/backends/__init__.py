"""What runs the network: one module per engine, each with a session of the same form."""

from __future__ import annotations

from pathlib import Path

from .onnxruntime import OnnxRuntimeSession
from .session import Session
from .tensorrt import TensorRtSession


def open_session(backend: str, model: Path, threads: int | None) -> Session:
    """Loads a checked model file with "onnxruntime" or "tensorrt"; `threads` is for the CPU alone."""
    if backend == "tensorrt":
        return TensorRtSession(model)
    return OnnxRuntimeSession(model, threads)
