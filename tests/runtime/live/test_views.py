"""Views: what each shows, pixel by pixel, at any size, and what remains where a camera is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.cameras.compose import Composed
from irvis_runtime.cameras.luma_range import to_limited_range
from irvis_runtime.live.views import Views
from irvis_runtime.rig import View
from irvis_runtime.sinks.picture import Picture, caps_text, grey_chroma
from irvis_runtime.thermal.palettes import colourise

VIEWS: tuple[View, ...] = get_args(View)
sides = st.integers(16, 90)


def composed(size_hw: tuple[int, int] = (40, 60), *, is_full: bool = True, seed: int = 0) -> Composed:
    """A fused pair of noise in a limited or full range."""
    rng = np.random.default_rng(seed)

    def plane(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return rng.integers(16, 236, shape).astype(np.uint8)

    colorimetry = "1:4:0:0" if is_full else "bt709"
    chroma = plane(grey_chroma(size_hw).shape)
    infrared_hw = plane(size_hw)
    filled_hw = infrared_hw.copy()
    filled_hw[:, : size_hw[1] // 4] = 77
    return Composed(
        Picture(plane(size_hw), chroma, 5, colorimetry),
        "fusing",
        0.0,
        False,
        is_full,
        Picture(plane(size_hw), chroma, 5, colorimetry),
        infrared_hw,
        filled_hw,
    )


@pytest.mark.parametrize("view", VIEWS)
@given(sides, sides, st.booleans())
def test_every_view_has_the_size_time_and_colorimetry_of_the_fused_picture(
    view: View, height: int, width: int, is_full: bool
) -> None:
    """So a switch opens no sink anew; odd sides, too."""
    pair = composed((height, width), is_full=is_full)
    before = [plane.copy() for plane in (pair.picture.luma_hw, pair.picture.chroma)]
    made = Views(pair).picture(view)
    assert caps_text(made) == caps_text(pair.picture)
    assert made.chroma.shape == pair.picture.chroma.shape
    assert made.luma_hw.dtype == made.chroma.dtype == np.uint8
    assert made.time_ns == 5
    assert np.array_equal(pair.picture.luma_hw, before[0])
    assert np.array_equal(pair.picture.chroma, before[1])


def test_single_views_are_the_pictures_themselves() -> None:
    pair = composed()
    views = Views(pair)
    assert views.picture("fused") is pair.picture
    assert views.picture("visible") is pair.visible
    thermal = views.picture("thermal")
    assert pair.infrared_hw is not None
    assert np.array_equal(thermal.luma_hw, pair.infrared_hw)
    assert np.all(thermal.chroma == 128)


def test_the_thermal_view_has_the_rigs_palette() -> None:
    pair = replace(composed(), palette="ironbow")
    thermal = Views(pair).picture("thermal")
    assert pair.infrared_hw is not None
    luma_hw, chroma = colourise(pair.infrared_hw, "ironbow", pair.picture.colorimetry, is_full_range=True)
    assert np.array_equal(thermal.luma_hw, luma_hw)
    assert np.array_equal(thermal.chroma, chroma)
    assert chroma.std() > 10


def test_thermal_goes_out_in_the_range_of_the_stream() -> None:
    pair = composed(is_full=False)
    assert pair.infrared_hw is not None
    assert np.array_equal(Views(pair).picture("thermal").luma_hw, to_limited_range(pair.infrared_hw))


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_made_and_marked_once_and_shared(view: View) -> None:
    marked: list[Picture] = []

    def mark(picture: Picture) -> Picture:
        marked.append(picture)
        return replace(picture, time_ns=6)

    views = Views(composed(), mark)
    assert views.picture(view) is views.picture(view)
    assert views.picture(view).time_ns == 6
    assert len(marked) == 1


@given(sides, sides, st.booleans())
def test_blend_is_the_mean_where_infrared_sees_and_keeps_the_colours(
    height: int, width: int, is_full: bool
) -> None:
    pair = composed((height, width), is_full=is_full)
    assert pair.visible is not None
    assert pair.filled_hw is not None
    blend = Views(pair).picture("blend")
    infrared_hw = pair.filled_hw if is_full else to_limited_range(pair.filled_hw)
    mean = (pair.visible.luma_hw.astype(int) + infrared_hw) / 2
    assert np.abs(blend.luma_hw - mean).max() <= 0.5
    assert blend.chroma is pair.visible.chroma


@given(st.integers(4, 20), st.integers(4, 20), st.booleans())
def test_side_by_side_averages_blocks_of_both_pictures_between_black_bars(
    quarter_height: int, quarter_width: int, is_full: bool
) -> None:
    height, width = 8 * quarter_height, 4 * quarter_width
    pair = composed((height, width), is_full=is_full)
    assert pair.visible is not None
    made = Views(pair).picture("side-by-side")
    top = height // 4
    black = 0 if is_full else 16
    assert np.all(made.luma_hw[:top] == black)
    assert np.all(made.luma_hw[-top:] == black)
    assert np.all(made.chroma[: top // 2] == 128)
    left, right = np.split(made.luma_hw[top:-top], 2, axis=1)
    for half, whole in ((left, pair.visible.luma_hw), (right, Views(pair).picture("thermal").luma_hw)):
        blocks = whole.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
        assert np.abs(half - blocks).max() <= 0.5
    chroma = made.chroma[top // 2 : -top // 2].reshape(height // 4, width // 2, 2)
    whole = pair.visible.chroma.reshape(height // 4, 2, width // 4, 2, 2).mean((1, 3))
    assert np.abs(chroma[:, : width // 4] - whole).max() <= 0.5
    assert np.all(chroma[:, width // 4 :] == 128)


def test_picture_in_picture_is_the_visible_one_with_a_framed_thermal_inset() -> None:
    pair = composed((120, 240))
    assert pair.visible is not None
    assert pair.infrared_hw is not None
    made = Views(pair).picture("picture-in-picture")
    top, left = 120 - 40 - 6, 240 - 80 - 6
    inset = made.luma_hw[top : top + 40, left : left + 80]
    blocks = pair.infrared_hw.reshape(40, 3, 80, 3).mean((1, 3))
    assert np.abs(inset - blocks).max() <= 0.5
    assert np.all(made.luma_hw[top - 2 : top, left - 2 : left + 82] == 0)
    assert np.all(made.chroma[top // 2 : top // 2 + 20, left : left + 80] == 128)
    assert np.array_equal(made.luma_hw[: top - 2], pair.visible.luma_hw[: top - 2])
    assert np.array_equal(made.chroma[: top // 2], pair.visible.chroma[: top // 2])
    assert not np.array_equal(made.luma_hw, pair.visible.luma_hw)


@pytest.mark.parametrize("view", VIEWS)
def test_without_infrared_every_view_is_the_visible_picture(view: View) -> None:
    own = composed().picture
    alone = Composed(own, "visible-only", visible=own)
    assert Views(alone).picture(view) is own


@pytest.mark.parametrize("view", VIEWS)
def test_without_the_visible_camera_every_view_is_the_infrared_picture(view: View) -> None:
    pair = composed()
    assert pair.infrared_hw is not None
    grey = Picture(pair.infrared_hw, grey_chroma((40, 60)), 5, "1:4:0:0")
    made = Views(Composed(grey, "infrared-only", infrared_hw=pair.infrared_hw)).picture(view)
    assert np.array_equal(made.luma_hw, pair.infrared_hw)
    assert np.array_equal(made.chroma, grey.chroma)


@pytest.mark.parametrize("view", VIEWS)
def test_without_any_camera_every_view_is_what_is_shown_instead(view: View) -> None:
    slate = composed().picture
    assert Views(Composed(slate, "no-cameras")).picture(view) is slate
