"""What all tests share: where the reference data lie, and how near two values must be."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

# In the background of a shell's script an interrupt is ignored, and every command that a test starts would
# inherit that: those that are interrupted to see what they leave would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared"

# Tests name the entry that they mean; a looser limit is a decision that is made here and nowhere else.
TOLERANCES: Mapping[str, float] = MappingProxyType(
    {
        # a metric against its published or directly computed value, relative
        "metric_relative": 1e-6,
        # a metric against a committed golden value: float64, whatever library multiplies the matrices
        "metric_golden_relative": 1e-10,
        # a graph against torch or against its FP32 file: the largest difference, in levels of 255
        "fp32_max_lsb": 1,
        "fp16_max_lsb": 2,
        # a quantized graph against its FP32 file, at least, in dB over levels of 255
        "int8_min_psnr_db": 30.0,
        # black, white and noise: never trained on, and the grey level of a flat frame is arbitrary
        "int8_extremes_min_psnr_db": 25.0,
        "int8-trt_min_psnr_db": 30.0,
        "int8-fp16-trt_min_psnr_db": 30.0,
    }
)


@pytest.fixture
def shared() -> Path:
    """The read-only reference data beside the repository; skips the test where there are none."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference data in {SHARED}, which are not part of the repository")
    return SHARED


@pytest.fixture
def tolerances() -> Mapping[str, float]:
    """The one table of how near is near enough."""
    return TOLERANCES
