"""The module tensorrt: its import, its logger, and its failures in one line."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from irvis_runtime.errors import BackendError, ContractError

OLDEST = (10, 3)
"""JetPack 6.2 has it. Before 10.0 two contexts could not share an optimization profile unasked."""
INSTALL = (
    "install it with `sudo apt-get install python3-libnvinfer` (JetPack; a virtual environment needs "
    "--system-site-packages) or take the backend onnxruntime"
)

_log = logging.getLogger(__name__)
_MOST_CHARACTERS = 300


def import_tensorrt() -> Any:
    """Returns the module tensorrt; BackendError where it is missing, broken or too old."""
    try:
        trt = import_module("tensorrt")
        version = str(trt.__version__)
    except Exception as error:
        # The stub wheels of PyPI and broken shared libraries raise more than ImportError.
        raise BackendError(f"TensorRT cannot be imported ({one_line(str(error))}); {INSTALL}") from error
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < OLDEST:
        raise BackendError(
            f"expected TensorRT {OLDEST[0]}.{OLDEST[1]} or later, got {version}; install JetPack 6.2 or later"
        )
    return trt


@cache
def message_log(trt: Any) -> Any:
    """Returns the logger of this process, whose `errors` are the last lines that TensorRT wrote of that kind.

    TensorRT keeps a pointer to the first logger that it was given: there is one, which is never freed.
    """
    serious = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)

    def start(self: Any) -> None:
        trt.ILogger.__init__(self)
        self.errors = deque(maxlen=20)

    def log(self: Any, severity: Any, message: str) -> None:
        if severity in serious:
            self.errors.append(message)
        elif severity == trt.ILogger.WARNING:
            _log.info("TensorRT: %s", message)

    return type("MessageLog", (trt.ILogger,), {"__init__": start, "log": log})()


@contextmanager
def reporting(messages: Any, action: str, advice: str) -> Iterator[None]:
    """Turns what TensorRT raises meanwhile into BackendError; the log's older errors are forgotten."""
    messages.errors.clear()
    try:
        yield
    except (BackendError, ContractError):
        raise
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise failure(messages.errors, action, advice, str(error)) from error


def failure(lines: Sequence[str], action: str, advice: str, reason: str = "") -> BackendError:
    """Returns the error that says why: the last of TensorRT's lines, or else `reason`."""
    line = lines[-1] if lines else reason or "it does not say why"
    return BackendError(f"TensorRT failed to {action}: {one_line(line)}; {advice}")


def one_line(text: str) -> str:
    """Returns a text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 1]}…"
