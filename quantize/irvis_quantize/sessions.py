"""ONNX Runtime on graphs in memory."""

from __future__ import annotations

import onnxruntime as ort
from onnx import ModelProto


def open_bytes(model: ModelProto) -> ort.InferenceSession:
    """A session of a graph in memory."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
