"""No kernel touches a byte that is not its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import irvis_runtime
from irvis_runtime.kernels.library import Kernels


def guarded(what: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, which a fault ends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(irvis_runtime.__file__).parents[1])}
    command = [sys.executable, str(Path(__file__).with_name("guarded.py")), what]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_no_kernel_leaves_its_buffers(compiled: Kernels) -> None:
    done = guarded("all")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where", ["before", "after"])
def test_one_byte_too_many_would_be_noticed(where: str) -> None:
    assert guarded(where).returncode == -signal.SIGSEGV
