"""The two errors of irvis; the command line prints either as one line and exits with 2."""


class ContractError(ValueError):
    """A wrong input, file or configuration: says what was expected, what came, and what to do."""


class BackendError(RuntimeError):
    """TensorRT, ONNX Runtime, GStreamer or a camera failed or is missing: says what, and what to do."""
