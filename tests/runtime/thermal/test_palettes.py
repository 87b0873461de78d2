"""Palettes as NV12: neutral greys, ranges, matrices, and colours that OpenCV finds again."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.cameras.luma_range import to_limited_range
from irvis_runtime.sinks.picture import Picture, even_size, nv12_buffer
from irvis_runtime.thermal.palettes import CONTROL_POINTS, PaletteName, colourise, palette_rgb

NAMES: tuple[PaletteName, ...] = get_args(PaletteName)
GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)
each_palette = pytest.mark.parametrize("palette", NAMES)


def test_every_palette_has_its_points() -> None:
    assert set(CONTROL_POINTS) == set(NAMES)


@pytest.mark.parametrize("is_full_range", [True, False])
def test_white_hot_and_black_hot_are_neutral(is_full_range: bool) -> None:
    expected: dict[PaletteName, NDArray[np.uint8]] = {"white-hot": GREYS, "black-hot": 255 - GREYS}
    for palette, greys in expected.items():
        luma_hw, chroma = colourise(GREYS, palette, "bt709", is_full_range)
        assert np.array_equal(luma_hw, greys if is_full_range else to_limited_range(greys))
        assert (chroma == 128).all()
        assert chroma.shape == (8, 16)


@each_palette
@pytest.mark.parametrize("colorimetry", ["bt601", "bt709", "bt2020", "smpte240m", "2:3:5:1", "", "odd"])
def test_limited_range_is_kept(palette: PaletteName, colorimetry: str) -> None:
    luma_hw, chroma = colourise(GREYS, palette, colorimetry, is_full_range=False)
    assert luma_hw.min() >= 16
    assert luma_hw.max() <= 235
    assert chroma.min() >= 16
    assert chroma.max() <= 240


@each_palette
def test_opencv_finds_the_colours_again(palette: PaletteName) -> None:
    """cv2's NV12 is BT.601 in limited range; each grey as a block of its own, so that no chroma is mixed."""
    blocks_hw = np.repeat(np.repeat(GREYS, 2, axis=0), 2, axis=1)
    luma_hw, chroma = colourise(blocks_hw, palette, "bt601", is_full_range=False)
    bgr_hw3 = cv2.cvtColor(np.vstack([luma_hw, chroma]), cv2.COLOR_YUV2BGR_NV12)
    np.testing.assert_allclose(bgr_hw3[::2, ::2, ::-1].reshape(256, 3), palette_rgb(palette), atol=4)


def test_the_matrix_follows_the_colorimetry() -> None:
    """The rainbow's red, by the luma weights of red and blue in BT.601 and BT.709."""
    red, green, blue = palette_rgb("rainbow")[223]
    assert red > 200 > 30 > green
    bt601, bt709 = (0.299, 0.114), (0.2126, 0.0722)
    hot_hw = np.full((2, 2), 223, np.uint8)
    for name, (of_red, of_blue) in {
        "bt601": bt601,
        "1:4:0:0": bt601,
        "bt709": bt709,
        "1:3:5:1": bt709,
    }.items():
        luma = int(colourise(hot_hw, "rainbow", name, is_full_range=True)[0][0, 0])
        expected = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
        assert luma == pytest.approx(expected, abs=0.51), name


@pytest.mark.parametrize("palette", ["white-hot", "ironbow", "arctic"])
def test_hotter_is_lighter(palette: PaletteName) -> None:
    for colorimetry in ("bt601", "bt709"):
        luma = colourise(GREYS, palette, colorimetry, is_full_range=True)[0].reshape(-1)
        assert (np.diff(luma.astype(int)) >= 0).all()


@each_palette
def test_no_two_neighbours_are_far_apart_and_the_ends_differ(palette: PaletteName) -> None:
    colours = palette_rgb(palette)
    assert np.abs(np.diff(colours, axis=0)).max() <= 8
    assert np.abs(colours[-1] - colours[0]).max() > 150


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 33), st.integers(1, 33), st.sampled_from(NAMES), st.booleans())
def test_any_size_is_a_picture_that_goes_out(
    height: int, width: int, palette: PaletteName, is_full_range: bool
) -> None:
    grey_hw = np.random.default_rng(height).integers(0, 256, (height, width)).astype(np.uint8)
    luma_hw, chroma = colourise(grey_hw, palette, "bt709", is_full_range)
    assert luma_hw.shape == (height, width)
    assert chroma.shape == (-(-height // 2), 2 * (-(-width // 2)))
    assert luma_hw.dtype == chroma.dtype == np.uint8
    picture = Picture(luma_hw, chroma, 0, "bt709")
    rows, columns = even_size(picture)
    assert nv12_buffer(picture).get_size() == (rows + rows // 2) * (-(-columns // 4) * 4)
