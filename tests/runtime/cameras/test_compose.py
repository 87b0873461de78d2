"""Frames to pictures, with the shipped model: fused, passed through, held; ranges and colour kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from irvis_runtime.cameras.compose import Composer
from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.luma_range import to_full_range, to_limited_range
from irvis_runtime.fuser import Fuser
from irvis_runtime.thermal.palettes import colourise

from .small_frames import HEIGHT, MS, WIDTH, infrared, rig, visible


@pytest.fixture(scope="module")
def fuser() -> Iterator[Fuser]:
    """The shipped model on one thread."""
    with Fuser(precision="fp32", threads=1) as fuser:
        yield fuser


def test_a_pair_is_fused_as_the_fuser_fuses_it(fuser: Fuser) -> None:
    composer = Composer(fuser, rig())
    composer.add_infrared(infrared(98))
    frame = visible(100)
    composed = composer.from_visible(frame)
    assert (composed.state, composed.skew_ms, composed.is_held) == ("fusing", -2.0, False)
    assert np.array_equal(composed.picture.luma_hw, fuser.fuse(infrared(0).luma_hw, frame.luma_hw))
    assert composed.picture.chroma is frame.chroma
    assert (composed.picture.colorimetry, composed.picture.time_ns) == ("1:4:0:0", 100 * MS)


def test_what_a_stand_in_only_passes_through_is_not_called_fused(
    fuser: Fuser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuser, "is_passing_through", True)
    composer = Composer(fuser, rig())
    composer.add_infrared(infrared(98))
    assert composer.from_visible(visible(100)).state == "visible-only"


def test_limited_luma_is_fused_in_full_range_and_goes_out_limited(fuser: Fuser) -> None:
    composer = Composer(fuser, rig())
    composer.add_infrared(infrared(100))
    frame = visible(100, is_full=False)
    picture = composer.from_visible(frame).picture
    expected_hw = to_limited_range(fuser.fuse(infrared(0).luma_hw, to_full_range(frame.luma_hw)))
    assert np.array_equal(picture.luma_hw, expected_hw)
    assert picture.colorimetry == "bt709"
    assert picture.luma_hw.min() >= 16
    assert picture.luma_hw.max() <= 235


def test_without_infrared_the_visible_frame_passes_through_untouched(fuser: Fuser) -> None:
    frame = visible(100, is_full=False)
    composed = Composer(fuser, rig()).from_visible(frame)
    assert (composed.state, composed.skew_ms) == ("visible-only", None)
    assert composed.picture.luma_hw is frame.luma_hw
    assert composed.picture.chroma is frame.chroma


def test_a_silent_infrared_camera_is_held_then_left_out_and_comes_back(fuser: Fuser) -> None:
    composer = Composer(fuser, rig(limits={"max_skew_ms": 50, "hold_ms": 500}))
    composer.add_infrared(infrared(0))
    story = []
    for time_ms in (0, 40, 80, 480, 520, 560):
        composed = composer.from_visible(visible(time_ms))
        story.append((composed.state, composed.is_held))
    composer.add_infrared(infrared(590))
    story.append((composer.from_visible(visible(600)).state, False))
    assert story == [
        ("fusing", False),
        ("fusing", False),
        ("holding", True),
        ("holding", True),
        ("visible-only", False),
        ("visible-only", False),
        ("fusing", False),
    ]


def test_the_context_follows_slowly_and_afresh_after_a_gap(fuser: Fuser) -> None:
    """A flash in the visible picture changes the next fused one less than it would a single picture."""
    flash = Frame(np.full((HEIGHT, WIDTH), 250, np.uint8), visible(0).chroma, 33 * MS, "1:4:0:0", True)
    slow, quick = (
        Composer(fuser, rig(fusion={"context_s": 10.0})),
        Composer(fuser, rig(fusion={"context_s": 0.0})),
    )
    for composer in (slow, quick):
        composer.add_infrared(infrared(0))
        composer.from_visible(visible(0))
    own_hw = fuser.fuse(infrared(0).luma_hw, flash.luma_hw)
    assert np.array_equal(quick.from_visible(flash).picture.luma_hw, own_hw)
    assert not np.array_equal(slow.from_visible(flash).picture.luma_hw, own_hw)
    slow.from_visible(visible(5000))
    slow.add_infrared(infrared(6000))
    again = Frame(flash.luma_hw, flash.chroma, 6000 * MS, "1:4:0:0", True)
    assert np.array_equal(slow.from_visible(again).picture.luma_hw, own_hw)


def test_a_small_infrared_camera_is_stretched_or_laid_by_its_homography(fuser: Fuser) -> None:
    small = infrared(100, np.full((20, 25), 200, np.uint8))
    frame = visible(100)
    stretched, laid = (
        Composer(fuser, rig()),
        Composer(fuser, rig(registration={"homography": [[1, 0, 10], [0, 1, 10], [0, 0, 1]]})),
    )
    for composer in (stretched, laid):
        composer.add_infrared(small)
    all_hot_hw = np.full((HEIGHT, WIDTH), 200, np.uint8)
    assert np.array_equal(
        stretched.from_visible(frame).picture.luma_hw, fuser.fuse(all_hot_hw, frame.luma_hw)
    )
    patch_hw = frame.luma_hw.copy()
    patch_hw[10:30, 10:35] = 200
    assert np.array_equal(laid.from_visible(frame).picture.luma_hw, fuser.fuse(patch_hw, frame.luma_hw))


def test_infrared_alone_is_a_grey_picture_in_the_visible_ones_form(fuser: Fuser) -> None:
    composer = Composer(fuser, rig())
    assert composer.from_infrared() is None
    composer.add_infrared(infrared(0, np.full((20, 25), 255, np.uint8)))
    alone = composer.from_infrared()
    assert alone is not None
    assert alone.picture.luma_hw.shape == (20, 25)
    composer.from_visible(visible(2000, is_full=False))
    composer.add_infrared(infrared(2033, np.full((20, 25), 255, np.uint8)))
    alone = composer.from_infrared()
    assert alone is not None
    assert alone.state == "infrared-only"
    assert alone.picture.luma_hw.shape == (HEIGHT, WIDTH)
    assert (alone.picture.luma_hw == 235).all()
    assert (alone.picture.chroma == 128).all()
    assert (alone.picture.colorimetry, alone.picture.time_ns) == ("bt709", 2033 * MS)


def test_sixteen_bit_counts_are_brought_to_grey(fuser: Fuser) -> None:
    composer = Composer(fuser, rig())
    counts_hw = np.linspace(29_000, 31_000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    composer.add_infrared(infrared(0, counts_hw))
    alone = composer.from_infrared()
    assert alone is not None
    assert alone.picture.luma_hw.dtype == np.uint8
    assert (alone.picture.luma_hw.min(), alone.picture.luma_hw.max()) == (0, 255)


def test_a_frozen_thermal_camera_is_held_flagged_and_left_out(fuser: Fuser) -> None:
    composer = Composer(
        fuser,
        rig(
            limits={"max_skew_ms": 50, "hold_ms": 500},
            thermal={"freeze": "repeats", "freeze_ms": 200},
        ),
    )
    story = []
    for time_ms in (0, 100, 200, 300, 400, 600, 700):
        # The camera goes on at its pace, and shows its first picture until it opens its eye again.
        content = infrared(0).luma_hw + np.uint8(time_ms == 700)
        composer.add_infrared(infrared(time_ms, content))
        composed = composer.from_visible(visible(time_ms))
        story.append((time_ms, composed.state, composed.is_held, composer.thermal.is_frozen))
    assert story == [
        (0, "fusing", False, False),
        (100, "holding", True, False),
        (200, "holding", True, True),
        (300, "holding", True, True),
        (400, "holding", True, True),
        (600, "visible-only", False, True),
        (700, "fusing", False, False),
    ]


def test_infrared_alone_has_the_rigs_palette_and_goes_on_while_it_is_frozen(fuser: Fuser) -> None:
    composer = Composer(fuser, rig(thermal={"palette": "ironbow", "freeze": "repeats", "freeze_ms": 50}))
    shown = []
    for time_ms in (0, 100, 200):
        composer.add_infrared(infrared(time_ms))
        alone = composer.from_infrared()
        assert alone is not None
        picture = alone.picture
        shown.append((picture.time_ns // MS, composer.thermal.is_frozen))
    assert shown == [(0, False), (100, True), (200, True)]
    luma_hw, chroma = colourise(infrared(0).luma_hw, "ironbow", "1:4:0:0", is_full_range=True)
    assert np.array_equal(picture.luma_hw, luma_hw)
    assert np.array_equal(picture.chroma, chroma)
    assert chroma.std() > 10


def test_a_named_cameras_frames_are_cropped_before_they_are_fused(fuser: Fuser) -> None:
    counts_hw = np.random.default_rng(1).integers(29_000, 31_000, (384, 256)).astype(np.uint16)
    named, cropped = Composer(fuser, rig(thermal={"sensor": "tiny1"})), Composer(fuser, rig())
    named.add_infrared(infrared(0, counts_hw))
    cropped.add_infrared(infrared(0, counts_hw[192:]))
    frame = visible(0)
    assert np.array_equal(
        named.from_visible(frame).picture.luma_hw, cropped.from_visible(frame).picture.luma_hw
    )


@pytest.mark.parametrize("is_full", [True, False])
def test_what_a_picture_was_made_of_goes_with_it(fuser: Fuser, is_full: bool) -> None:
    """For the views: the visible picture, and infrared with and without the visible one around it."""
    half = [[0.5, 0, 0], [0, 1, 0], [0, 0, 1]]
    composer = Composer(fuser, rig(registration={"homography": half}))
    frame = visible(100, is_full=is_full)
    alone = composer.from_visible(frame)
    assert (alone.visible, alone.infrared_hw) == (alone.picture, None)
    composer.add_infrared(infrared(100))
    composed = composer.from_visible(frame)
    assert composed.is_full_range == is_full
    assert composed.visible is not None
    assert composed.infrared_hw is not None
    assert composed.filled_hw is not None
    assert composed.visible.luma_hw is frame.luma_hw
    inside, full_hw = WIDTH // 2, frame.luma_hw if is_full else to_full_range(frame.luma_hw)
    assert np.array_equal(composed.filled_hw[:, :inside], composed.infrared_hw[:, :inside])
    assert np.array_equal(composed.filled_hw[:, inside + 1 :], full_hw[:, inside + 1 :])
    later = composer.from_infrared()
    assert later is not None
    assert later.infrared_hw is composed.infrared_hw
    assert (later.visible, later.is_full_range) == (None, is_full)


def test_the_common_view_goes_out_from_the_first_infrared_frame_on(fuser: Fuser) -> None:
    shifted = {"homography": [[1, 0, 5], [0, 1, 0], [0, 0, 1]], "crop": "common"}
    composer = Composer(fuser, rig(registration=shifted))
    assert composer.from_visible(visible(0)).picture.luma_hw.shape == (HEIGHT, WIDTH)
    composer.add_infrared(infrared(98))
    composed = composer.from_visible(visible(100))
    assert composed.state == "fusing"
    assert composed.picture.luma_hw.shape == (HEIGHT - 1, WIDTH - 7)
    assert composed.picture.chroma.shape == ((HEIGHT - 1) // 2, WIDTH - 7)
    alone = composer.from_infrared()
    assert alone is not None
    assert alone.picture.luma_hw.shape == (HEIGHT - 1, WIDTH - 7)
