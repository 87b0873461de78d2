from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from irvis_runtime.bench.file import Fidelity
from irvis_runtime.bench.quality import baselines, fidelity, mean_metrics, measure, summarize_fidelity

PICTURES = arrays(np.uint8, (16, 20), elements=st.integers(0, 255))


@settings(max_examples=30, deadline=None)
@given(PICTURES, PICTURES)
def test_fidelity_is_the_definition(first_hw: NDArray[np.uint8], second_hw: NDArray[np.uint8]) -> None:
    found = fidelity(first_hw, second_hw)
    differences = np.abs(first_hw.astype(float) - second_hw)
    assert found.max_lsb == differences.max()
    assert (differences <= found.p99_lsb).mean() >= 0.99
    assert found.p99_lsb == 0 or (differences <= found.p99_lsb - 1).mean() < 0.99
    error = np.square(differences).mean()
    if error == 0:
        assert found.psnr_db is None
    else:
        assert found.psnr_db == pytest.approx(10 * math.log10(255**2 / error), rel=1e-9)
    assert found.ssim <= 1.0 + 1e-12


@settings(max_examples=30, deadline=None)
@given(PICTURES)
def test_a_picture_is_identical_to_itself(picture_hw: NDArray[np.uint8]) -> None:
    found = fidelity(picture_hw, picture_hw)
    assert (found.psnr_db, found.max_lsb, found.p99_lsb) == (None, 0, 0)
    assert found.ssim == pytest.approx(1.0)


def test_the_summary_names_the_worst_pair() -> None:
    rows = {
        "a": Fidelity(30.0, 0.9, 10, 4),
        "b": Fidelity(20.0, 0.95, 50, 9),
        "same": Fidelity(None, 1.0, 0, 0),
    }
    found = summarize_fidelity(rows)
    assert (found.psnr_db_mean, found.psnr_db_worst, found.worst_pair) == (25.0, 20.0, "b")
    assert (found.ssim_worst, found.max_lsb, found.p99_lsb_worst) == (0.9, 50, 9)
    assert (found.pairs, found.identical_pairs) == (3, 1)
    alike = summarize_fidelity({"same": rows["same"]})
    assert (alike.psnr_db_mean, alike.worst_pair) == (None, None)


@settings(max_examples=30, deadline=None)
@given(PICTURES, PICTURES)
def test_baselines_are_mean_and_maximum(first_hw: NDArray[np.uint8], second_hw: NDArray[np.uint8]) -> None:
    found = baselines(first_hw, second_hw)
    exact = (first_hw.astype(float) + second_hw) / 2
    assert np.abs(found["average"] - exact).max() <= 0.5
    np.testing.assert_array_equal(found["maximum"], np.maximum(first_hw, second_hw))


def test_a_metric_that_a_small_picture_cannot_have_is_none() -> None:
    small_hw = np.arange(400, dtype=np.uint16).reshape(20, 20).astype(np.uint8)
    row = measure(small_hw, small_hw, small_hw, ["EN", "VIF", "PSNR"])
    # VIF needs 41 pixels, and the PSNR of equal pictures is infinite.
    assert row["EN"] is not None
    assert (row["VIF"], row["PSNR"]) == (None, None)
    assert mean_metrics([row, {"EN": 1.0, "VIF": 2.0, "PSNR": 3.0}])["VIF"] is None
