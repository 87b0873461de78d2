"""Fuses pictures with a model directory: picks precision and backend, checks the files, then loads one."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .backends import open_session
from .backends.choice import Backend, choose_backend, choose_precision
from .backends.session import Pending, Session
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

_log = logging.getLogger(__name__)


class PendingPicture:
    """A picture that was submitted and may still be computed."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def collect(self) -> NDArray[np.uint8]:
        """Waits for the fused luma and returns it, uint8 (H, W)."""
        return cast("NDArray[np.uint8]", self._pending.collect()[FUSED][0, 0])


class Fuser:
    """Fuses luma pictures; a context manager that frees the backend.

    `model_dir`: a path, or a shipped model's name; None takes the default one. `precision`: "auto", or a key
    of the manifest's files. `backend`: "auto", or a name of `backends.choice.BACKENDS`; where one that auto
    takes does not load, a warning says so and the next one is taken. `threads`: CPU threads, None for all
    cores. ContractError for a model that fails its checks, BackendError where nothing can run it.
    """

    is_passing_through = False
    """Whether `fuse` gives the visible picture as it is; a StandInFuser may."""

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
        self.threads = threads
        self.backend: Backend
        self.precision: str
        self.reason: str
        """Why this backend and this precision."""
        self._session: Session | None = self._open(precision, backend)
        self.versions: dict[str, str] = dict(self._session.versions)

    @property
    def description(self) -> str:
        """What fuses, and why that, in one line."""
        version = next(iter(self.versions.values()))
        count = self.threads or len(os.sched_getaffinity(0))
        is_on_cpu = self.backend in ("onnxruntime", "openvino")
        threads = f", {count} thread{'s' if count > 1 else ''}" if is_on_cpu else ""
        return f"{self.backend} {version}, {self.precision}{threads}: {self.reason}"

    @property
    def session(self) -> Session:
        """The backend's session; BackendError where it is closed."""
        if self._session is None:
            raise BackendError("this Fuser is closed; make a new one")
        return self._session

    def _open(self, precision: str, backend: str) -> Session:
        failed: dict[Backend, str] = {}
        while True:
            self.backend, why_backend = choose_backend(backend, failed)
            self.precision, why_precision = choose_precision(self.manifest, precision, self.backend)
            self.reason = ", ".join(dict.fromkeys((why_backend, why_precision)))
            model = checked_model_path(self.model_dir, self.manifest, self.precision)
            try:
                return open_session(self.backend, model, self.threads)
            except BackendError as error:
                if backend != "auto" or self.backend in failed or self.backend == "onnxruntime":
                    raise
                _log.warning("%s does not load, another backend is taken: %s", self.backend, error)
                failed[self.backend] = f"{self.backend} does not load"

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
        inputs = self._inputs(infrared_hw, visible_hw, context)
        return cast("NDArray[np.uint8]", self.session.infer(inputs)[FUSED][0, 0])

    def submit(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None = None,
    ) -> PendingPicture:
        """Hands in a picture as `fuse` does, and returns before a GPU has computed it.

        The arrays may change then. Two pictures may be in flight; a backend on the CPU computes at once.
        """
        return PendingPicture(self.session.submit(self._inputs(infrared_hw, visible_hw, context)))

    def _inputs(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None,
    ) -> dict[str, NDArray[Any]]:
        """What the session takes, checked."""
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
        return {
            INFRARED: np.ascontiguousarray(infrared_hw)[None, None],
            VISIBLE: np.ascontiguousarray(visible_hw)[None, None],
            CONTEXT: np.ascontiguousarray(context),
        }

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
