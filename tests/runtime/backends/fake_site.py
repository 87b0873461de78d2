"""Runs as the sitecustomize of a child process: stand-ins for TensorRT and CUDA instead of the real ones.

$IRVIS_TEST_BUILD says how a build ends: "fail", "refuse", "kill", "wait" (for ever), else well.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any


def _beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"irvis_tests_{name}", Path(os.environ["IRVIS_TEST_STAND_INS"]) / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _load(name: str | None, *arguments: Any, _real: Any = ctypes.CDLL, **options: Any) -> Any:
    return CUDA if "libcudart" in str(name) else _real(name, *arguments, **options)


class Builds(list[Any]):
    """Where the stand-in notes its builds; some end there."""

    def append(self, build: Any) -> None:
        super().append(build)
        if ENDING == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if ENDING == "wait":
            Path(os.environ["IRVIS_TEST_PID"]).write_text(str(os.getpid()))
            time.sleep(600)


ENDING = os.environ.get("IRVIS_TEST_BUILD", "")
CUDA: Any = _beside("fake_cuda").FakeCuda()
TENSORRT: Any = _beside("fake_tensorrt").FakeTensorRt("10.3.0", CUDA, _beside("fake_engine").Runtime)
TENSORRT.builds = Builds()
if ENDING == "fail":
    TENSORRT.build_errors = ["Could not find any implementation for node conv.", "It is too large."]
if ENDING == "refuse":
    TENSORRT.parse_error = "UNSUPPORTED_NODE: Assertion failed: mode is not supported"
sys.modules["tensorrt"] = TENSORRT
setattr(ctypes, "CDLL", _load)  # noqa: B010 (mypy would not have a class replaced by a function)
