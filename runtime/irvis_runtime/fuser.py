"""Fuses pictures with a model directory: picks precision and backend, checks the files, then loads one."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from .backends import open_session
from .backends.session import Session
from .board import has_fast_int8
from .context import make_context
from .contract import (
    CONTEXT,
    CONTEXT_SHAPE,
    FUSED,
    INFRARED,
    MIN_SIDE_PX,
    VISIBLE,
    Manifest,
    checked_model_path,
    load_manifest,
)
from .errors import BackendError, ContractError
from .shipped_models import find_model_dir

Backend = Literal["onnxruntime", "tensorrt"]
BACKEND_PRECISIONS: dict[Backend, tuple[str, ...]] = {
    # The files that each backend takes; the first that the model has is what "auto" chooses.
    "tensorrt": ("fp16", "fp32", "int8-fp16-trt", "int8-trt"),
    "onnxruntime": ("int8", "fp32", "fp16"),
}


class Fuser:
    """Fuses luma pictures; a context manager that frees the backend.

    `model_dir`: a path, or a shipped model's name; None takes the default one. `precision`: "auto", or a key
    of the manifest's files. `backend`: "auto", "onnxruntime" or "tensorrt"; auto takes TensorRT where its
    module imports. `threads`: CPU threads, None for all cores. ContractError for a model that fails its
    checks, BackendError where nothing can run it.
    """

    def __init__(
        self,
        model_dir: Path | str | None = None,
        precision: str = "auto",
        backend: str = "auto",
        threads: int | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise ContractError(f"threads: expected 1 or more, got {threads}; leave it out to use every core")
        self.model_dir = find_model_dir(model_dir)
        self.manifest: Manifest = load_manifest(self.model_dir)
        self.backend: Backend = choose_backend(backend)
        self.precision: str = choose_precision(self.manifest, precision, self.backend)
        model = checked_model_path(self.model_dir, self.manifest, self.precision)
        self._session: Session | None = open_session(self.backend, model, threads)
        self.versions: dict[str, str] = dict(self._session.versions)

    def fuse(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns the fused luma, uint8 (H, W), of two registered uint8 pictures (H, W), H and W from 16 up.

        `context`: thumbnails (1, 2, 64, 64) as `make_context` gives; None takes the pictures' own, which is
        right for a single picture, while a video passes smoothed ones.
        """
        check_picture(infrared_hw, INFRARED)
        check_picture(visible_hw, VISIBLE)
        if infrared_hw.shape != visible_hw.shape:
            raise ContractError(
                f"expected two pictures of equal size, got infrared {infrared_hw.shape} and visible "
                f"{visible_hw.shape} (rows, columns); register the infrared picture onto the visible one"
            )
        if context is None:
            context = make_context(infrared_hw, visible_hw)
        else:
            check_context(context)
        return self._infer(infrared_hw, visible_hw, context)

    def _infer(
        self, infrared_hw: NDArray[np.uint8], visible_hw: NDArray[np.uint8], context: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        if self._session is None:
            raise BackendError("this Fuser is closed; make a new one")
        inputs: dict[str, NDArray[Any]] = {
            INFRARED: np.ascontiguousarray(infrared_hw)[None, None],
            VISIBLE: np.ascontiguousarray(visible_hw)[None, None],
            CONTEXT: np.ascontiguousarray(context),
        }
        return cast("NDArray[np.uint8]", self._session.infer(inputs)[FUSED][0, 0])

    def close(self) -> None:
        """Frees the backend."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> Fuser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def choose_backend(backend: str) -> Backend:
    """Returns the backend that a name or "auto" stands for on this machine."""
    if backend == "auto":
        from .backends.tensorrt import is_available

        return "tensorrt" if is_available() else "onnxruntime"
    if backend == "tensorrt":
        return "tensorrt"
    if backend == "onnxruntime":
        return "onnxruntime"
    raise ContractError(f"backend: expected auto, onnxruntime or tensorrt, got {backend!r}")


def choose_precision(manifest: Manifest, precision: str, backend: Backend) -> str:
    """Returns the manifest's key for a precision; "auto" is the backend's first choice that the model has.

    On a CPU without dot-product instructions INT8 is no faster than FP32, and on older x86 it saturates: it
    comes last there.
    """
    runs = [name for name in BACKEND_PRECISIONS[backend] if name in manifest.files]
    if precision in runs:
        return precision
    if precision == "auto" and runs:
        return min(runs, key=lambda name: name == "int8" and not has_fast_int8())
    available = ", ".join(runs) or "none"
    raise ContractError(
        f"{manifest.name}: has no file of precision {precision!r} for {backend}; those it has: {available}; "
        "`irvis export` and `irvis quantize` make them"
    )


def check_picture(picture_hw: NDArray[Any], name: str) -> None:
    """ContractError unless the array is uint8 (H, W) with both sides of 16 and more."""
    is_luma = isinstance(picture_hw, np.ndarray) and picture_hw.dtype == np.uint8 and picture_hw.ndim == 2
    if not is_luma or min(picture_hw.shape) < MIN_SIDE_PX:
        raise ContractError(
            f"{name}: expected a uint8 array (H, W) with sides of at least {MIN_SIDE_PX}, got "
            f"{_described(picture_hw)}; convert it to 8-bit luma"
        )


def check_context(context: NDArray[Any]) -> None:
    """ContractError unless the array is finite float32 (1, 2, 64, 64)."""
    is_context = isinstance(context, np.ndarray) and context.dtype == np.float32
    if not is_context or context.shape != CONTEXT_SHAPE or not np.isfinite(context).all():
        raise ContractError(
            f"{CONTEXT}: expected a finite float32 array {CONTEXT_SHAPE}, got {_described(context)}; "
            "use make_context"
        )


def _described(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return f"a {type(value).__name__}"
    finite = "" if value.dtype.kind != "f" or np.isfinite(value).all() else " with NaN or infinity"
    return f"{value.dtype} {value.shape}{finite}"
