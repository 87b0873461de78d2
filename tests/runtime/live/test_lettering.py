"""Words in pictures of any size, in their range, without touching the picture they are drawn on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.live.lettering import SHOWN, slate, with_corner
from irvis_runtime.sinks.picture import Picture, grey_chroma

sides = st.integers(1, 300)


def grey(height: int, width: int) -> Picture:
    return Picture(np.full((height, width), 100, np.uint8), grey_chroma((height, width)), 5, "bt709")


@given(sides, sides, st.sampled_from(list(SHOWN)), st.integers(0, 2_000_000))
def test_a_corner_fits_every_picture_and_leaves_its_source_alone(
    height: int, width: int, state: str, count: int
) -> None:
    picture = grey(height, width)
    marked = with_corner(picture, state, count)  # type: ignore[arg-type]
    assert (picture.luma_hw == 100).all()
    assert marked.luma_hw.shape == (height, width)
    assert marked.chroma is picture.chroma
    assert marked.luma_hw.min() >= 16
    assert marked.luma_hw.max() <= 235


def test_the_corner_is_small_and_tells_states_and_pictures_apart() -> None:
    picture = grey(480, 640)
    one, two, other = (
        with_corner(picture, "fusing", 1),
        with_corner(picture, "fusing", 2),
        with_corner(picture, "visible-only", 1),
    )
    changed = one.luma_hw != 100
    assert 0.002 < changed.mean() < 0.03
    assert not changed[40:].any()
    assert not np.array_equal(one.luma_hw, two.luma_hw)
    assert not np.array_equal(one.luma_hw, other.luma_hw)


@given(sides, sides)
def test_a_slate_has_the_form_of_the_last_picture(height: int, width: int) -> None:
    last = grey(height, width)
    picture = slate(last, 77, 3)
    assert picture.luma_hw.shape == last.luma_hw.shape
    assert picture.chroma.shape == last.chroma.shape
    assert (picture.chroma == 128).all()
    assert (picture.time_ns, picture.colorimetry) == (77, "bt709")


def test_the_slate_is_readable_and_its_number_moves() -> None:
    one, two = slate(grey(480, 640), 0, 1), slate(grey(480, 640), 0, 2)
    assert 0.005 < (one.luma_hw == 235).mean() < 0.1
    assert np.array_equal(one.luma_hw[:320], two.luma_hw[:320])
    assert not np.array_equal(one.luma_hw[320:], two.luma_hw[320:])
