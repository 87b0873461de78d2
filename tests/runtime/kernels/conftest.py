"""The kernels of the machine that runs the tests."""

from __future__ import annotations

import os
import platform

import pytest

from irvis_runtime.kernels.library import SWITCH, Kernels, describe_kernels, kernels


@pytest.fixture(scope="session")
def compiled() -> Kernels:
    """This machine's kernels; skips on a machine for which there are none."""
    found = kernels()
    if found is None:
        if platform.machine() in ("x86_64", "aarch64") and SWITCH not in os.environ:
            pytest.fail(f"{describe_kernels()}; run `make install` in the clone")
        pytest.skip(describe_kernels())
    return found
