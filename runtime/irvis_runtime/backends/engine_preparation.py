"""Makes a TensorRT engine ready beside the live picture, from the cache or by a child process."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from irvis_runtime.errors import BackendError, ContractError

from .engine_cache import EngineCache
from .engine_process import EngineProcess
from .tensorrt import TensorRtSession

_JOIN_S = 30.0
"""A child that the kernel cannot end, or a driver that hangs, must not keep the program from ending."""


class EnginePreparation:
    """The engine of a session for pictures of (H, W) on its way, in a thread of its own.

    Attributes:
        failure: Why there is none, once it is over; nothing where it is ready.
        is_final: Whether another try could end no other way, as with a model that TensorRT refuses.
        took_s: Seconds from the start to the end.
    """

    def __init__(self, session: TensorRtSession, size_hw: tuple[int, int]) -> None:
        self._session, self.size_hw = session, size_hw
        self.failure, self.is_final = "the thread that waited for it ended", False
        self.took_s = 0.0
        self._process: EngineProcess | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the engine is ready or has failed."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """Ends the child and waits for the thread."""
        with self._lock:
            self._is_closed = True
            process = self._process
        if process is not None:
            process.stop()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        start_s = time.monotonic()
        try:
            with ExitStack() as stack:
                folder = self._session.cache.folder
                if folder is None:
                    # Nothing can be kept, but the engine has to be handed over.
                    scratch = TemporaryDirectory(prefix="irvis-engine-", ignore_cleanup_errors=True)
                    folder = Path(stack.enter_context(scratch))
                self._prepare(folder)
            self.failure = ""
        except ContractError as error:
            self.failure, self.is_final = str(error), True
        except (BackendError, OSError, MemoryError) as error:
            self.failure = str(error) or type(error).__name__
        finally:
            self.took_s = time.monotonic() - start_s

    def _prepare(self, folder: Path) -> None:
        cache = EngineCache(folder)
        if self._session.load(self.size_hw, cache):
            return
        process = EngineProcess(self._session.model, self.size_hw, folder, self._session.options)
        with self._lock:
            if self._is_closed:
                raise BackendError("the build was stopped")
            self._process = process
        process.build()
        if not self._session.load(self.size_hw, cache):
            # As after an error of the GPU, which stays with the process that met it.
            raise BackendError("another process could load it and this one cannot; a restart may help")
