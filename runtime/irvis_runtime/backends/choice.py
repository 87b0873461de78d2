"""Which backend and which of the model's files run on this machine, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from irvis_runtime.board import has_fast_int8
from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.manifest import Manifest

from . import onnxruntime, openvino, tensorrt

Backend = Literal["tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime", "openvino"]
BackendOrAuto = Literal[
    "auto", "tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime", "openvino"
]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
BACKEND_PRECISIONS: dict[Backend, tuple[str, ...]] = {
    # The files that each backend takes; the first that the model has is what "auto" chooses.
    "tensorrt": ("fp16", "fp32", "int8-fp16-trt", "int8-trt"),
    "onnxruntime-cuda": ("fp16", "fp32"),
    "onnxruntime-tensorrt": ("fp16", "fp32", "int8-fp16-trt", "int8-trt"),
    "onnxruntime": ("int8", "fp32", "fp16"),
    # Its own rounding of what lies between convolutions costs INT8 some 9 dB: by name alone.
    "openvino": ("fp32", "int8-trt", "fp16"),
}
# In this order "auto" tries them. ONNX Runtime's TensorRT provider is taken by name alone: it builds at the
# first picture, and where TensorRT's libraries are, its Python module builds with the clamp and the retry.
_AUTO: tuple[tuple[Backend, Callable[[], str]], ...] = (
    ("tensorrt", lambda: tensorrt.why_not()),
    ("onnxruntime-cuda", lambda: onnxruntime.why_not(onnxruntime.CUDA)),
    ("onnxruntime", lambda: onnxruntime.why_not()),
    ("openvino", lambda: openvino.why_not()),
)


def choose_backend(backend: str, failed: Mapping[Backend, str] | None = None) -> tuple[Backend, str]:
    """Returns the backend that a name or "auto" stands for on this machine, and why it is that one.

    `failed`: backends that "auto" does not try again, and why. ContractError for an unknown name. Where
    nothing runs, it is ONNX Runtime, whose error says how to install it.
    """
    if backend in BACKENDS:
        return backend, "as asked"
    if backend != "auto":
        raise ContractError(f"backend: expected auto, {', '.join(BACKENDS)}, got {backend!r}")
    reasons: list[str] = []
    for name, why_not in _AUTO:
        reason = (failed or {}).get(name) or why_not()
        if not reason:
            return name, ", ".join(reasons) or "found here"
        if reason not in reasons:
            reasons.append(reason)
    return "onnxruntime", ", ".join(reasons)


def choose_precision(manifest: Manifest, precision: str, backend: Backend) -> tuple[str, str]:
    """Returns the manifest's key for a precision, and why; "auto" is the backend's first that the model has.

    On a CPU without dot-product instructions INT8 is no faster than FP32, and on older x86 it saturates: it
    comes last there.
    """
    runs = [name for name in BACKEND_PRECISIONS[backend] if name in manifest.files]
    if precision in runs:
        return precision, "as asked"
    if precision == "auto" and runs:
        if backend != "onnxruntime":
            return runs[0], "its first choice"
        is_fast = has_fast_int8()
        found = "the CPU has 8-bit dot products" if is_fast else "the CPU has no 8-bit dot products"
        return min(runs, key=lambda name: name == "int8" and not is_fast), found
    available = ", ".join(runs) or "none"
    raise ContractError(
        f"{manifest.name}: has no file of precision {precision!r} for {backend}; those it has: {available}; "
        "`irvis export` and `irvis quantize` make them"
    )
