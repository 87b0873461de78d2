"""Counts to grey levels: the three kinds, on real pictures and on made ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from irvis_runtime.image import read_picture
from irvis_runtime.thermal.agc import (
    Agc,
    FixedAgc,
    LinearAgc,
    PlateauAgc,
    grey_table,
    look_up,
    stretch_to_8_bit,
    to_8_bit,
)

pytestmark = pytest.mark.usefixtures("arithmetic")

Picture = NDArray[Any]
KINDS = (LinearAgc(4.0), PlateauAgc(0.1, 4.0), FixedAgc(7000.0, 9000.0))
each_kind = pytest.mark.parametrize("agc", KINDS, ids=lambda agc: type(agc).__name__)
some_counts = arrays(np.uint16, st.tuples(st.integers(1, 20), st.integers(1, 20)))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32), st.sampled_from(["<u2", ">u2"]))
def test_every_count_has_its_entry(height: int, width: int, seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, 65536, np.uint8)
    counts_hw = rng.integers(0, 65536, (height, 2 * width)).astype(kind)
    for view_hw in (counts_hw, counts_hw[::-1], counts_hw[:, ::2], counts_hw[:, width:], counts_hw.T):
        grey_hw = look_up(table, view_hw)
        assert grey_hw.dtype == np.uint8
        np.testing.assert_array_equal(grey_hw, table[view_hw])


@pytest.mark.parametrize("count", [0, 8000, 65535])
def test_constant_counts_become_middle_grey(count: int) -> None:
    flat_hw = np.full((20, 20), count, np.uint16)
    for grey_hw in (stretch_to_8_bit(flat_hw), *(to_8_bit(flat_hw, agc) for agc in KINDS[:2])):
        assert (grey_hw == 128).all()


def test_one_hot_pixel_on_constant_counts_is_kept() -> None:
    counts_hw = np.full((40, 40), 8000, np.uint16)
    counts_hw[3, 4] = 8010
    expected = np.zeros((40, 40), np.uint8)
    expected[3, 4] = 255
    np.testing.assert_array_equal(stretch_to_8_bit(counts_hw), expected)


@settings(max_examples=50, deadline=None)
@given(some_counts)
def test_stretch_keeps_order_and_fills_the_range(counts_hw: Picture) -> None:
    stretched_hw = stretch_to_8_bit(counts_hw)
    in_order = stretched_hw.ravel()[np.argsort(counts_hw, axis=None)]
    assert (np.diff(in_order.astype(int)) >= 0).all()
    if counts_hw.min() < counts_hw.max():
        assert (in_order[0], in_order[-1]) == (0, 255)


@settings(max_examples=60, deadline=None)
@given(
    some_counts,
    st.floats(0.01, 255),
    st.floats(1e-3, 100),
    st.tuples(st.floats(-300, 70_000), st.floats(0.01, 70_000)),
)
def test_a_hotter_count_is_never_darker(
    counts_hw: Picture, max_gain: float, plateau_percent: float, window: tuple[float, float]
) -> None:
    low, span = window
    for agc in (LinearAgc(max_gain), PlateauAgc(plateau_percent, max_gain), FixedAgc(low, low + span)):
        curve = agc.curve(counts_hw)
        assert curve.shape == (65536,)
        assert curve.dtype == np.float32
        assert curve.min() >= 0
        assert curve.max() <= 255
        assert (np.diff(curve) >= 0).all()
        if not isinstance(agc, FixedAgc):
            # float32 grey levels near 255 have steps of 2**-16.
            assert np.diff(curve).max() <= max_gain + 1e-4


def test_linear_is_the_tau_2_notes_formula() -> None:
    """m = 255 / (P99.5 - P0.5) and b = 127.5 - m (P0.5 + P99.5) / 2, clipped."""
    counts = np.random.default_rng(1).integers(6000, 9000, (120, 160)).astype(np.uint16)
    low, high = np.percentile(counts, (0.5, 99.5))
    slope = 255 / (high - low)
    expected = np.clip(slope * np.arange(65536) + 127.5 - slope * (low + high) / 2, 0, 255)
    np.testing.assert_allclose(LinearAgc(4.0).curve(counts), expected, atol=1e-3)


@given(some_counts, st.floats(0.01, 4.0))
def test_linear_takes_numpys_percentiles(counts_hw: Picture, max_gain: float) -> None:
    low, high = np.percentile(counts_hw, (0.5, 99.5))
    slope = min(max_gain, 255 / (high - low)) if high > low else max_gain
    expected = np.clip(slope * (np.arange(65536) - (low + high) / 2) + 127.5, 0, 255)
    np.testing.assert_allclose(LinearAgc(max_gain).curve(counts_hw), expected, atol=0.02)


def test_a_fixed_range_is_one_curve_that_nobody_changes() -> None:
    agc = FixedAgc(7000.0, 9000.0)
    curve = agc.curve(np.zeros((2, 2), np.uint16))
    assert agc.curve(np.full((2, 2), 8000, np.uint16)) is curve
    assert not curve.flags.writeable


def test_a_plateau_above_all_bins_equalizes_and_a_tiny_one_is_linear() -> None:
    rng = np.random.default_rng(2)
    counts = np.clip(rng.normal(8000, 300, (240, 320)), 7000, 9000).astype(np.uint16)
    equalized = to_8_bit(counts, PlateauAgc(100.0, 255.0))
    shares = np.bincount(equalized.ravel() // 16, minlength=16) / counts.size
    assert np.abs(shares - 1 / 16).max() < 0.01
    full_range = np.arange(7000, 9001, dtype=np.uint16)
    crowded = np.concatenate([full_range, np.full(50_000, 7100, np.uint16)])
    curve = PlateauAgc(1e-3, 255.0).curve(crowded)
    np.testing.assert_allclose(curve[7000:9001], np.linspace(0, 255, 2001), atol=0.1)


def test_a_plateau_leaves_the_background_its_contrast_beside_a_hot_thing() -> None:
    counts = np.random.default_rng(3).normal(7600, 60, (120, 160))
    counts[:20, :20] = 12_000
    background, linear, plateau = (
        np.s_[60:],
        to_8_bit(counts.astype(np.uint16), LinearAgc(4.0)),
        to_8_bit(counts.astype(np.uint16), PlateauAgc(0.1, 4.0)),
    )
    assert linear[background].std() < 5
    assert plateau[background].std() > 30


def test_hot_and_dead_pixels_change_nothing_else() -> None:
    counts = np.random.default_rng(4).normal(8000, 100, (240, 320)).astype(np.uint16)
    broken = counts.copy()
    broken.ravel()[::1000] = 0
    broken.ravel()[500::1000] = 16383
    healthy = (broken != 0) & (broken != 16383)
    for agc in KINDS:
        difference = to_8_bit(broken, agc)[healthy].astype(int) - to_8_bit(counts, agc)[healthy]
        assert np.abs(difference).max() <= 5


@pytest.mark.parametrize("agc", KINDS[:2], ids=lambda agc: type(agc).__name__)
def test_the_noise_of_a_flat_scene_stays_low(agc: Agc) -> None:
    flat = np.random.default_rng(5).normal(8000, 1.0, (240, 320)).round().astype(np.uint16)
    assert to_8_bit(flat, agc).std() < 6


def test_a_fixed_range_is_the_same_for_every_picture() -> None:
    agc = FixedAgc(7000.0, 9000.0)
    table = grey_table(agc.curve(np.zeros((4, 4), np.uint16)))
    assert table[[0, 7000, 8000, 9000, 65535]].tolist() == [0, 0, 128, 255, 255]
    assert np.array_equal(table, grey_table(agc.curve(np.full((4, 4), 9999, np.uint16))))


@each_kind
def test_real_pictures_become_grey_in_order(raw16: Path, agc: Agc) -> None:
    paths = [*raw16.glob("DJI/*.tif"), *raw16.glob("FLIR_radiometric/raw16/*.tif")]
    paths += sorted(raw16.glob("Lepton16_sequence/*.tiff"))[::20]
    assert len(paths) > 15
    for path in paths:
        counts_hw = read_picture(path)
        grey_hw = to_8_bit(counts_hw, agc)
        assert grey_hw.shape == counts_hw.shape
        assert grey_hw.dtype == np.uint8
        in_order = grey_hw.ravel()[np.argsort(counts_hw, axis=None)]
        assert (np.diff(in_order.astype(int)) >= 0).all(), path
        if not isinstance(agc, FixedAgc):
            # The narrowest scene here has 24 counts between its percentiles, of 4 levels at most.
            assert np.ptp(np.percentile(grey_hw, (1, 99))) > 80, path
