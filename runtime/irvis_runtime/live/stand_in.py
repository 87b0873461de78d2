"""Fuses live pictures from the first one on: ONNX Runtime stands in while TensorRT's engine is built."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.backends.engine_preparation import EnginePreparation
from irvis_runtime.backends.retry import LONGEST_S, Retry, after_failure
from irvis_runtime.backends.tensorrt import TensorRtSession
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.fuser import Fuser

SLOW_MS = 1000 / 9
"""A stand-in that takes longer falls behind the slowest thermal cameras (9 Hz): visible passes through."""
JUDGED_PICTURES = 5


def open_live_fuser(
    model_dir: Path | str | None,
    precision: str,
    backend: str,
    threads: int | None,
    tell: Callable[[str], None],
) -> Fuser | StandInFuser:
    """Returns what fuses live pictures and never makes them wait for a build: see Fuser for the arguments.

    `tell`: takes a line of text for each change of what serves.
    """
    fuser = Fuser(model_dir, precision, backend, threads)
    return StandInFuser(fuser, threads, tell) if fuser.backend == "tensorrt" else fuser


class StandInFuser:
    """A Fuser whose TensorRT engines are built by a child process while ONNX Runtime on the CPU serves.

    What serves changes between two pictures. While a size's first build is awaited and the stand-in takes
    more than `slow_ms` a picture, or where it cannot run, the visible picture passes through. A build that
    fails, and an engine that fails on a picture, are told and tried again later (`after_failure`), and so is
    a stand-in that fails; what is left serves on, and no failure of a backend leaves `fuse`. `engine`: a
    Fuser on TensorRT, which this one closes. `fuse` is called from one thread.
    """

    def __init__(
        self, engine: Fuser, threads: int | None, tell: Callable[[str], None], slow_ms: float = SLOW_MS
    ) -> None:
        session = engine.session
        if not isinstance(session, TensorRtSession):
            raise BackendError(f"expected a Fuser on tensorrt, got one on {engine.backend}")
        self._engine, self._session = engine, session
        self._threads, self._tell, self._slow_ms = threads, tell, slow_ms
        self._preparation: EnginePreparation | None = None
        self._retries: dict[tuple[int, int], Retry] = {}
        self._failure = ""
        self._is_engine_serving = False
        self._serving_since_s = 0.0
        self._stand_in: Fuser | None = None
        self._stand_in_retry: Retry | None = None
        self._took_ms: deque[float] = deque(maxlen=JUDGED_PICTURES + 1)
        self._is_too_slow = False
        self._is_closed = False
        self.is_passing_through = False

    @property
    def backend(self) -> str:
        """What serves now: "tensorrt", the stand-in's name, or "none" where the visible picture passes."""
        return "none" if self.is_passing_through else self._serving.backend

    @property
    def precision(self) -> str:
        """The file that serves now; what TensorRT will take where the visible picture passes."""
        return self._serving.precision

    @property
    def versions(self) -> dict[str, str]:
        """Of what serves and of what will."""
        return {**self._engine.versions, **self._serving.versions}

    @property
    def reason(self) -> str:
        """Why TensorRT and its precision were chosen."""
        return self._engine.reason

    @property
    def description(self) -> str:
        """What is meant to fuse, and why that, in one line; with the newest failure while it cannot."""
        return self._engine.description + (f"; not now: {self._failure}" if self._failure else "")

    def fuse(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns the fused luma as `Fuser.fuse` does, by what serves now; the arguments are the same."""
        if self._is_closed:
            raise BackendError("this StandInFuser is closed; make a new one")
        self._follow()
        fused_hw = self._fused_by_engine(infrared_hw, visible_hw, context)
        if fused_hw is None:
            self._want((visible_hw.shape[0], visible_hw.shape[1]))
            fused_hw = self._fused_by_stand_in(infrared_hw, visible_hw, context)
        self.is_passing_through = fused_hw is None
        return np.array(visible_hw) if fused_hw is None else fused_hw

    def close(self) -> None:
        """Ends a build and frees both backends."""
        self._is_closed = True
        if self._preparation is not None:
            self._preparation.close()
            self._preparation = None
        self._close_stand_in()
        try:
            self._engine.close()
        except BackendError as error:
            # After an error of the GPU nothing can be freed; the flight is over and the process ends.
            self._tell(f"TensorRT did not end well: {error}")

    def __enter__(self) -> StandInFuser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _serving(self) -> Fuser:
        return self._engine if self._is_engine_serving or self._stand_in is None else self._stand_in

    def _follow(self) -> None:
        """Takes note of a build that is over."""
        preparation = self._preparation
        if preparation is None or not preparation.is_over:
            return
        self._preparation = None
        size_hw = preparation.size_hw
        if not preparation.failure:
            self._tell(
                f"the TensorRT engine for {_written(size_hw)} pictures came in {preparation.took_s:.0f} s"
            )
            return
        # Nothing is awaited any more: a slow fused picture is better than none.
        self._is_too_slow = False
        self._failure = preparation.failure
        retry = after_failure(self._retries.get(size_hw), preparation.is_final)
        self._retries[size_hw] = retry
        self._tell(
            f"no TensorRT engine for {_written(size_hw)} pictures ({retry.text}): {self._failure}; "
            f"{self._stand_in_name()} serves on"
        )

    def _want(self, size_hw: tuple[int, int]) -> None:
        """Has the engine for pictures of (H, W) loaded or built, one size at a time."""
        retry = self._retries.get(size_hw)
        if self._preparation is not None or (retry is not None and not retry.is_due):
            return
        self._preparation = EnginePreparation(self._session, size_hw)
        if retry is None:
            self._tell(
                f"TensorRT prepares its engine for {_written(size_hw)} pictures, minutes where it must be "
                f"built; {self._stand_in_name()} serves meanwhile"
            )

    def _fused_by_engine(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None,
    ) -> NDArray[np.uint8] | None:
        """TensorRT's picture; None where it has no engine of this size yet, or fails."""
        size_hw = (visible_hw.shape[0], visible_hw.shape[1])
        is_awaited = self._preparation is not None and self._preparation.size_hw == size_hw
        if is_awaited or not self._session.is_ready(size_hw):
            self._is_engine_serving = False
            return None
        try:
            fused_hw = self._engine.fuse(infrared_hw, visible_hw, context)
        except BackendError as error:
            self._give_engine_up(size_hw, error)
            return None
        self._serve_engine()
        return fused_hw

    def _serve_engine(self) -> None:
        if self._is_engine_serving:
            return
        self._is_engine_serving, self._serving_since_s = True, time.monotonic()
        self._is_too_slow, self._failure, self._stand_in_retry = False, "", None
        self._close_stand_in()
        self._tell(f"now {self._engine.description}")

    def _give_engine_up(self, size_hw: tuple[int, int], error: BackendError) -> None:
        """Frees an engine that failed on a picture; one that served for long is loaded again soon."""
        served_s = time.monotonic() - self._serving_since_s if self._is_engine_serving else 0.0
        self._is_engine_serving = False
        self._failure = str(error)
        retry = after_failure(None if served_s > LONGEST_S else self._retries.get(size_hw))
        self._retries[size_hw] = retry
        # What failed may not even be freed any more.
        with suppress(BackendError):
            self._session.drop(size_hw)
        self._tell(
            f"TensorRT failed on a picture of {_written(size_hw)} ({retry.text}): {error}; "
            f"{self._stand_in_name()} serves on"
        )

    def _fused_by_stand_in(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None,
    ) -> NDArray[np.uint8] | None:
        """ONNX Runtime's picture, on the CPU; None where it does not run or is too slow."""
        stand_in = None if self._is_too_slow else self._opened_stand_in()
        if stand_in is None:
            return None
        start_s = time.perf_counter()
        try:
            fused_hw = stand_in.fuse(infrared_hw, visible_hw, context)
        except BackendError as error:
            self._give_stand_in_up(error)
            return None
        self._stand_in_retry = None
        self._judge((time.perf_counter() - start_s) * 1e3)
        return fused_hw

    def _opened_stand_in(self) -> Fuser | None:
        retry = self._stand_in_retry
        if self._stand_in is None and (retry is None or retry.is_due):
            try:
                self._stand_in = Fuser(self._engine.model_dir, "auto", "onnxruntime", self._threads)
            except (BackendError, ContractError) as error:
                self._give_stand_in_up(error)
        return self._stand_in

    def _give_stand_in_up(self, error: BackendError | ContractError) -> None:
        self._close_stand_in()
        self._stand_in_retry = after_failure(self._stand_in_retry, isinstance(error, ContractError))
        self._tell_passing(str(error), f" (onnxruntime is {self._stand_in_retry.text})")

    def _judge(self, took_ms: float) -> None:
        """Gives a stand-in up that is too slow; its first picture, which allocates, does not count.

        Only a size's first build is waited for without a fused picture: later ones may fail as it did.
        """
        self._took_ms.append(took_ms)
        is_waiting = self._preparation is not None and self._preparation.size_hw not in self._retries
        if len(self._took_ms) <= JUDGED_PICTURES or not is_waiting:
            return
        middle_ms = median(list(self._took_ms)[1:])
        if middle_ms > self._slow_ms:
            self._is_too_slow = True
            self._tell_passing(f"onnxruntime takes {middle_ms:.0f} ms a picture")

    def _tell_passing(self, reason: str, retry: str = "") -> None:
        until = " until TensorRT is ready" if self._preparation is not None else ""
        self._tell(f"the visible picture passes through{until}{retry}: {reason}")

    def _stand_in_name(self) -> str:
        """What serves where no engine does."""
        is_away = self._is_too_slow or self._stand_in_retry is not None
        return "the visible picture" if is_away else "onnxruntime"

    def _close_stand_in(self) -> None:
        self._took_ms.clear()
        if self._stand_in is not None:
            self._stand_in.close()
            self._stand_in = None


def _written(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"
