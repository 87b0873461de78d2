"""Fuses live pictures from the first one on: ONNX Runtime stands in while TensorRT's engine is built."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.backends.engine_process import EngineProcess
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

    What serves changes between two pictures. While a build is awaited and the stand-in takes more than
    `slow_ms` a picture, or cannot run, the visible picture passes through. A build that fails is told once,
    and ONNX Runtime serves on. `engine`: a Fuser on TensorRT, which this one closes. `fuse` is called from
    one thread.
    """

    def __init__(
        self, engine: Fuser, threads: int | None, tell: Callable[[str], None], slow_ms: float = SLOW_MS
    ) -> None:
        session = engine.session
        if not isinstance(session, TensorRtSession):
            raise BackendError(f"expected a Fuser on tensorrt, got one on {engine.backend}")
        self._engine, self._session = engine, session
        self._threads, self._tell, self._slow_ms = threads, tell, slow_ms
        self._stand_in: Fuser | None = None
        self._why_no_stand_in = ""
        self._took_ms: deque[float] = deque(maxlen=JUDGED_PICTURES + 1)
        self._build: _Build | None = None
        self._failed: set[tuple[int, int]] = set()
        self._is_engine_serving = False
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
        """What is meant to fuse, and why that, in one line."""
        return self._engine.description

    def fuse(
        self,
        infrared_hw: NDArray[np.uint8],
        visible_hw: NDArray[np.uint8],
        context: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns the fused luma as `Fuser.fuse` does, by what serves now; the arguments are the same."""
        size_hw = (visible_hw.shape[0], visible_hw.shape[1])
        self._follow()
        is_awaited = self._build is not None and self._build.size_hw == size_hw
        if self._session.is_ready(size_hw) and not is_awaited:
            self._serve_engine()
            return self._engine.fuse(infrared_hw, visible_hw, context)
        self._want(size_hw)
        self._is_engine_serving = False
        stand_in = self._opened_stand_in()
        if stand_in is None:
            return np.array(visible_hw)
        start = time.perf_counter()
        fused_hw = stand_in.fuse(infrared_hw, visible_hw, context)
        self._judge((time.perf_counter() - start) * 1e3)
        return fused_hw

    def close(self) -> None:
        """Ends a build and frees both backends."""
        if self._build is not None:
            self._build.close()
            self._build = None
        if self._stand_in is not None:
            self._stand_in.close()
        self._engine.close()

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
        build = self._build
        if build is None or not build.is_over:
            return
        self._build = None
        size = _written(build.size_hw)
        if build.failure:
            self._failed.add(build.size_hw)
            # Nothing is awaited any more: a slow fused picture is better than none.
            self.is_passing_through = False
            self._tell(f"no TensorRT engine for {size} pictures: {build.failure}; onnxruntime serves on")
        else:
            self._tell(f"the TensorRT engine for {size} pictures came in {build.took_s:.0f} s")

    def _want(self, size_hw: tuple[int, int]) -> None:
        """Has the engine for pictures of (H, W) loaded or built, one size at a time."""
        if self._build is not None or size_hw in self._failed:
            return
        self._build = _Build(self._session, size_hw)
        self._tell(
            f"TensorRT prepares its engine for {_written(size_hw)} pictures, minutes where it must be built; "
            f"{self._stand_in_name()} serves meanwhile"
        )

    def _serve_engine(self) -> None:
        if self._is_engine_serving:
            return
        self._is_engine_serving, self.is_passing_through = True, False
        self._took_ms.clear()
        if self._stand_in is not None:
            self._stand_in.close()
            self._stand_in = None
        self._tell(f"now {self._engine.description}")

    def _opened_stand_in(self) -> Fuser | None:
        """ONNX Runtime on the CPU; None where it does not run or is too slow."""
        if self.is_passing_through:
            return None
        if self._stand_in is None:
            try:
                self._stand_in = Fuser(self._engine.model_dir, "auto", "onnxruntime", self._threads)
            except (BackendError, ContractError) as error:
                self._pass_through(str(error))
        return self._stand_in

    def _judge(self, took_ms: float) -> None:
        """Gives a stand-in up that is too slow; its first picture, which allocates, does not count."""
        self._took_ms.append(took_ms)
        if len(self._took_ms) <= JUDGED_PICTURES or self._build is None:
            return
        middle_ms = median(list(self._took_ms)[1:])
        if middle_ms > self._slow_ms:
            self._pass_through(f"{self._stand_in_name()} takes {middle_ms:.0f} ms a picture")

    def _pass_through(self, reason: str) -> None:
        self.is_passing_through = True
        until = " until TensorRT is ready" if self._build is not None else ""
        self._tell(f"the visible picture passes through{until}: {reason}")

    def _stand_in_name(self) -> str:
        return "the visible picture" if self.is_passing_through else "onnxruntime"


class _Build:
    """An engine on its way, from the cache or from a child process, in a thread of its own."""

    def __init__(self, session: TensorRtSession, size_hw: tuple[int, int]) -> None:
        self._session, self.size_hw = session, size_hw
        self.failure = "the thread that waited for it ended"
        self.took_s = 0.0
        self._scratch: TemporaryDirectory[str] | None = None
        folder = session.cache.folder
        if folder is None:
            # Nothing can be kept, but the engine has to be handed over.
            self._scratch = TemporaryDirectory(prefix="irvis-engine-")
            folder = Path(self._scratch.name)
        self._cache = EngineCache(folder)
        self._process = EngineProcess(session.model, size_hw, folder, session.options)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the engine is ready or never will be."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Ends the child and waits for the thread."""
        self._process.stop()
        self._thread.join()

    def _run(self) -> None:
        start_s = time.monotonic()
        try:
            if not self._session.load(self.size_hw, self._cache):
                self._process.build()
                if not self._session.load(self.size_hw, self._cache):
                    raise BackendError(f"it was built, but {self._cache.folder} does not have it")
            self.failure = ""
        except (BackendError, ContractError) as error:
            self.failure = str(error)
        finally:
            self.took_s = time.monotonic() - start_s
            if self._scratch is not None:
                self._scratch.cleanup()


def _written(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"
