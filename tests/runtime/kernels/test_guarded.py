"""No kernel touches a byte that is not its own."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from irvis_runtime.kernels import library
from irvis_runtime.kernels.library import Kernels

PACKAGE = Path(library.__file__).parent


def guarded(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A process of its own, which a fault ends."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parents[1])}
    command = [sys.executable, Path(__file__).with_name("guarded.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_no_kernel_leaves_its_buffers(compiled: Kernels) -> None:
    done = guarded("all", PACKAGE / f"kernels-{platform.machine()}.so")
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"


@pytest.mark.parametrize("where", ["before", "after"])
def test_one_byte_too_many_would_be_noticed(where: str) -> None:
    assert guarded(where).returncode == -signal.SIGSEGV
