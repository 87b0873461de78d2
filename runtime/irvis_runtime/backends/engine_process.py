"""Builds a TensorRT engine in a process of its own, whose crash or lack of memory leaves the picture alone.

The engine cache hands the engine over. Python's lock, TensorRT's threads and the builder's memory stay apart
from the live picture, and the kernel kills the builder first where memory runs out.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from irvis_runtime.errors import BackendError, ContractError

from .cudart import open_cudart
from .engine_cache import EngineCache
from .tensorrt_api import import_tensorrt, one_line
from .tensorrt_build import BuildOptions, EngineBuilder, read_model

_PR_SET_PDEATHSIG = 1
_NICENESS = 10
_OOM_SCORE = "500"
_STOP_S = 5.0
_LONGEST_S = 1800.0
"""A build takes minutes; one that takes this long hangs, and nothing else is tried until it is ended."""
# The child's exit code where the model is to blame, so that another try would end no other way.
_REFUSED = 3
# The child finds irvis_runtime where the parent did, installed or not, and after everything of its own.
_START = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from irvis_runtime.backends.engine_process import main; sys.exit(main(sys.argv[2:]))"
)


class EngineProcess:
    """A child process that builds the engine of one model for pictures of (H, W) into a folder.

    It is started, waited for and ended with its parent: call `build` from a thread that lives until then.
    """

    def __init__(self, model: Path, size_hw: tuple[int, int], folder: Path, options: BuildOptions) -> None:
        request = {"model": str(model), "size_hw": list(size_hw), "folder": str(folder)}
        package = Path(__file__).parents[2]
        self._command = [
            sys.executable,
            "-c",
            _START,
            str(package),
            json.dumps({**request, "options": asdict(options), "parent": os.getpid()}),
        ]
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def build(self) -> None:
        """Returns when the engine lies in the folder; the error says why it does not.

        ContractError: the model is refused, as it will be the next time. BackendError: anything else.
        """
        with self._lock:
            if self._is_stopped:
                raise BackendError("the build was stopped")
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                raise BackendError(f"no process to build the engine can be started ({error})") from error
        try:
            _, errors = self._process.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired:
            _end(self._process)
            raise BackendError(
                f"the process that built it was ended after {_LONGEST_S / 60:.0f} minutes"
            ) from None
        code = self._process.returncode
        if code == 0:
            return
        lines = [line for line in errors.splitlines() if line.strip()]
        if code < 0:
            reason = f"the process that built it was ended by {_signal_name(-code)}"
            if -code == signal.SIGKILL and not self._is_stopped:
                reason += ", as the kernel does where memory runs out"
            raise BackendError(reason)
        reason = one_line(lines[-1]) if lines else f"the process that built it ended with {code}"
        raise ContractError(reason) if code == _REFUSED else BackendError(reason)

    def stop(self) -> None:
        """Ends the build; harmless before it began and after it ended."""
        with self._lock:
            self._is_stopped = True
            process = self._process
        if process is not None and process.poll() is None:
            _end(process)


def main(argv: Sequence[str]) -> int:
    """Builds what the one argument, a JSON object, asks for; exit code 0 where the cache has it then."""
    request = json.loads(argv[0])
    # TensorRT's own remarks: the last line of an error is what the parent tells.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    _be_the_first_to_go(request["parent"])
    cache = EngineCache(Path(request["folder"]))
    height, width = request["size_hw"]
    try:
        model = read_model(Path(request["model"]))
        builder = EngineBuilder(
            import_tensorrt(), open_cudart(), model, cache, BuildOptions(**request["options"])
        )
        builder.keep((height, width))
    except (BackendError, ContractError) as error:
        sys.stderr.write(f"{error}\n")
        return _REFUSED if isinstance(error, ContractError) else 2
    return 0


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a child, politely first; one that the kernel cannot end is left to it."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)


def _be_the_first_to_go(parent: int) -> None:
    """Ends with the parent, gives way to the live picture, and is killed first where memory runs out."""
    with suppress(OSError):
        os.nice(_NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that wanted the engine is gone")


def _signal_name(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"
