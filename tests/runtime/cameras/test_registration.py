"""Infrared onto visible: identity, shifts, stretching, what lies outside, OpenCV's own warp."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.registration import Registration, source_pixels, stretch
from irvis_runtime.kernels.warp import Warp
from irvis_runtime.rig import RegistrationConfig

pytestmark = pytest.mark.usefixtures("arithmetic")

IDENTITY = np.eye(3).tolist()


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.0), np.uint8)


def test_identity_of_equal_sizes_copies_nothing() -> None:
    infrared_hw = picture(20, 30)
    assert Registration(IDENTITY).warp(infrared_hw, (20, 30)) is infrared_hw
    assert Registration(None).warp(infrared_hw, (20, 30)) is infrared_hw


def test_a_shift_moves_infrared_pixels_to_visible_ones() -> None:
    infrared_hw = picture(20, 30)
    warped_hw = Registration([[1, 0, 4], [0, 1, -3], [0, 0, 1]]).warp(infrared_hw, (20, 30))
    assert np.array_equal(warped_hw[:17, 4:], infrared_hw[3:, :26])


def test_outside_of_its_view_the_infrared_gives_way_to_the_visible() -> None:
    infrared_hw, visible_hw = picture(20, 30), picture(20, 30, seed=1)
    registration = Registration([[1, 0, 4], [0, 1, 0], [0, 0, 1]])
    filled_hw = registration.fill(registration.warp(infrared_hw, (20, 30)), visible_hw)
    assert np.array_equal(filled_hw[:, :4], visible_hw[:, :4])
    assert np.array_equal(filled_hw[:, 4:], infrared_hw[:, :26])


def test_stretching_covers_the_whole_visible_picture() -> None:
    infrared_hw, visible_hw = picture(12, 16), np.zeros((48, 64), np.uint8)
    registration = Registration(None)
    warped_hw = registration.warp(infrared_hw, (48, 64))
    assert registration.fill(warped_hw, visible_hw) is warped_hw
    expected_hw = cv2.resize(infrared_hw, (64, 48), interpolation=cv2.INTER_LINEAR)
    assert np.abs(warped_hw.astype(int) - expected_hw.astype(int)).max() <= 2


def test_the_maps_follow_a_change_of_size() -> None:
    registration = Registration(None)
    for size_hw in ((24, 32), (48, 64), (24, 32)):
        assert registration.warp(picture(12, 16), size_hw).shape == size_hw


@settings(max_examples=25)
@given(
    st.floats(0.7, 1.5),
    st.floats(-0.1, 0.1),
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.just(0.0) | st.floats(-1e-3, 1e-3),
)
def test_the_warp_is_opencvs_within_two_grey_levels(
    scale: float, turn: float, x: float, y: float, tilt: float
) -> None:
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    homography = [[float(cosine), float(-sine), x], [float(sine), float(cosine), y], [tilt, -tilt, 1.0]]
    infrared_hw, size_hw = picture(40, 50), (44, 60)
    registration = Registration(homography)
    warped_hw = registration.warp(infrared_hw, size_hw)
    inside_hw = registration.fill(np.full(size_hw, 1, np.uint8), np.zeros(size_hw, np.uint8)) == 1
    expected_hw = cv2.warpPerspective(
        infrared_hw, np.array(homography), size_hw[::-1], borderMode=cv2.BORDER_REPLICATE
    )
    difference_hw = np.abs(warped_hw.astype(int) - expected_hw.astype(int))
    assert inside_hw.any()
    # Border pixels within half a pixel of the edge are clamped here and blended there.
    core_hw = cv2.erode(inside_hw.astype(np.uint8), np.ones((5, 5), np.uint8)) == 1
    assert difference_hw[core_hw].max(initial=0) <= 2


@pytest.mark.parametrize("sizes", [((12, 16), (48, 64)), ((24, 33), (31, 40)), ((60, 80), (45, 70))])
def test_the_warps_without_perspective_are_the_maps_warp(
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    infrared_hw, (rows, columns) = picture(*sizes[0]), sizes[1]
    with_perspective = stretch(*sizes)
    with_perspective[2, 0] = 1e-9
    expected_hw = Registration(with_perspective.tolist()).warp(infrared_hw, (rows, columns)).astype(int)
    moved = stretch(*sizes) @ [[1, 0, 1e-9], [0, 1, 0], [0, 0, 1]]
    for homography in (None, moved.tolist(), (-2 * moved).tolist()):
        warped_hw = Registration(homography).warp(infrared_hw, (rows, columns))
        assert np.abs(warped_hw - expected_hw).max() <= 2


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.7, 1.8),
    st.floats(-0.08, 0.08),
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.just(0.0) | st.floats(-1e-3, 1e-3),
    st.floats(0, 4),
)
def test_with_and_without_kernels_agree(
    scale: float, turn: float, x: float, y: float, tilt: float, blur_px: float
) -> None:
    """Both round positions, OpenCV to 1/32 of a pixel, by 1/64 at most, the kernel to 1/64, by 1/128.

    So between them lie 3/128 of the steepest step between neighbours, each way, and what both round the
    result by, half a level and a little: one level where the picture is smooth.
    """
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    homography = [[float(cosine), float(-sine), x], [float(sine), float(cosine), y], [tilt, -tilt, 1.0]]
    noise_hw = np.random.default_rng(0).integers(0, 256, (60, 70)).astype(np.uint8)
    infrared_hw = np.asarray(cv2.GaussianBlur(noise_hw, (0, 0), blur_px), np.uint8) if blur_px else noise_hw
    either_hw = Registration(homography).warp(infrared_hw, (66, 90))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("irvis_runtime.cameras.registration.kernels", lambda: None)
        without_hw = Registration(homography).warp(infrared_hw, (66, 90))
    steepest = sum(np.abs(np.diff(infrared_hw.astype(int), axis=axis)).max() for axis in (0, 1))
    difference = np.abs(either_hw.astype(int) - without_hw).max()
    assert difference <= np.floor(9 / 16 + 9 / 16 + 3 / 128 * steepest)
    if blur_px > 2:
        assert difference <= 1


def test_the_kernel_is_what_registers(arithmetic: str) -> None:
    """Else the test above compared OpenCV with itself."""
    registration = Registration([[1.1, 0.02, 3], [-0.01, 0.9, 2], [1e-4, 2e-4, 1]])
    registration.warp(picture(40, 50), (44, 60))
    assert isinstance(registration._warp, Warp) == (arithmetic == "compiled")


def test_the_sign_of_a_homography_does_not_matter() -> None:
    homography = np.array([[1.1, 0.02, 3], [-0.01, 0.9, 2], [1e-4, 2e-4, 1]])
    plus, minus = Registration(homography.tolist()), Registration((-homography).tolist())
    assert np.array_equal(plus.warp(picture(20, 30), (24, 32)), minus.warp(picture(20, 30), (24, 32)))


def test_pixels_behind_the_camera_are_nan() -> None:
    tilted = np.array([[1.0, 0, 0], [0, 1, 0], [0.1, 0, 1]])
    x_hw, _ = source_pixels(tilted, (20, 20), (4, 60))
    assert np.isfinite(x_hw[:, 0]).all()
    assert np.isnan(x_hw[:, -1]).all()


@pytest.mark.parametrize("sizes", [((12, 16), (24, 32)), ((480, 640), (121, 161))])
def test_stretch_maps_corners_to_corners(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    (ir_rows, ir_columns), (rows, columns) = sizes
    corner = stretch(*sizes) @ [ir_columns - 0.5, ir_rows - 0.5, 1]
    assert corner == pytest.approx([columns - 0.5, rows - 0.5, 1])
    assert stretch(*sizes) @ [-0.5, -0.5, 1] == pytest.approx([-0.5, -0.5, 1])


def frame(height: int, width: int) -> Frame:
    chroma = np.arange(-(-height // 2) * 2 * -(-width // 2), dtype=np.uint8).reshape(-(-height // 2), -1)
    return Frame(picture(height, width), chroma, 7, "bt709", False)


def test_the_common_view_is_cut_out_of_luma_and_chroma() -> None:
    registration = Registration([[1, 0, 7], [0, 1, -5], [0, 0, 1]], crops=True)
    whole = frame(40, 60)
    assert registration.cropped(whole) is whole
    registration.see_infrared((40, 60))
    part = registration.cropped(whole)
    assert part.chroma is not None
    assert whole.chroma is not None
    assert np.array_equal(part.luma_hw, whole.luma_hw[0:34, 8:60])
    assert np.array_equal(part.chroma, whole.chroma[0:17, 8:60])
    assert (part.time_ns, part.colorimetry, part.is_full_range) == (7, "bt709", False)


@pytest.mark.parametrize("tilt", [0.0, 1e-4])
def test_in_the_common_view_the_infrared_lies_as_in_the_whole(tilt: float) -> None:
    homography = [[1.1, 0.05, 6], [-0.04, 1.2, -3], [tilt, 0, 1]]
    whole, cropping = Registration(homography), Registration(homography, crops=True)
    infrared_hw, visible = picture(40, 50), frame(44, 60)
    cropping.see_infrared((40, 50))
    part = cropping.cropped(visible)
    size_hw = part.luma_hw.shape[0], part.luma_hw.shape[1]
    warped_hw = cropping.warp(infrared_hw, size_hw)
    whole_hw = whole.warp(infrared_hw, (44, 60))
    top, left = np.argwhere(
        np.all(
            np.lib.stride_tricks.sliding_window_view(visible.luma_hw, size_hw) == part.luma_hw, axis=(2, 3)
        )
    )[0]
    assert np.array_equal(warped_hw, whole_hw[top : top + size_hw[0], left : left + size_hw[1]])
    # Both cameras see all of it: nothing is filled in.
    assert cropping.fill(warped_hw, part.luma_hw) is warped_hw


def test_the_rigs_distance_moves_the_infrared() -> None:
    near = RegistrationConfig(focal_px=400.0, baseline_m=(0.05, -0.1), distance_m=10.0)
    infrared_hw = picture(20, 30)
    warped_hw = Registration.of_rig(near).warp(infrared_hw, (20, 30))
    assert np.array_equal(warped_hw[:16, 2:], infrared_hw[4:, :28])
    same = RegistrationConfig(focal_px=400.0, baseline_m=(0.05, 0), calibrated_m=3.0, distance_m=3.0)
    assert Registration.of_rig(same).warp(infrared_hw, (20, 30)) is infrared_hw


def resized(picture_hw: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture_hw, size_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


OTHER_SIZES = [((40, 50), (22, 30)), ((20, 25), (44, 60)), ((20, 25), (22, 30)), ((80, 100), (88, 120))]


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("sizes", OTHER_SIZES)
def test_other_sizes_are_the_same_view_in_other_pixels(
    sizes: tuple[tuple[int, int], tuple[int, int]], near: bool
) -> None:
    """As after a camera came back in another mode: where a thing was in the picture, there it stays."""
    shift_33 = np.array([[1.0, 0, 2], [0, 1, -1], [0, 0, 1]]) if near else None
    registration = Registration([[1.1, 0.05, 3], [-0.04, 1.05, 2], [1e-4, 0, 1]], shift_33)
    rows, columns = np.mgrid[0:80, 0:100]
    scene_hw = (127 + 60 * np.sin(columns / 13) + 60 * np.cos(rows / 11)).astype(np.uint8)
    first_hw = registration.warp(resized(scene_hw, (40, 50)), (44, 60))
    other_hw = registration.warp(resized(scene_hw, sizes[0]), sizes[1])
    expected_hw = cv2.resize(first_hw, sizes[1][::-1], interpolation=cv2.INTER_LINEAR)
    assert np.abs(other_hw.astype(int) - expected_hw)[4:-4, 4:-4].max() <= 8


MATRIX = ((1.0, 0.0, 6.0), (0.0, 1.0, 2.0), (0.0, 0.0, 1.0))


def test_the_rig_tells_the_sizes_that_its_homography_is_of() -> None:
    told = RegistrationConfig(homography=MATRIX, infrared_size=(60, 40), visible_size=(60, 40))
    registration = Registration.of_rig(told)
    warped_hw = registration.warp(picture(20, 30), (20, 30))
    moved = Registration([[1, 0, 3], [0, 1, 1], [0, 0, 1]]).warp(picture(20, 30), (20, 30))
    assert np.array_equal(warped_hw, moved)


@pytest.mark.parametrize(("matrix", "expected_px"), [(MATRIX, 3), (((1, 0, 8), (0, 1, 2), (0, 0, 1)), 8)])
def test_a_reload_keeps_the_first_sizes_for_the_same_homography(
    matrix: tuple[tuple[float, float, float], ...], expected_px: int
) -> None:
    """Another one was taken since then, with the pictures as they are now."""
    before = Registration([list(row) for row in MATRIX])
    before.warp(picture(40, 60), (40, 60))
    after = Registration([list(row) for row in matrix])
    after.take_over(before)
    warped_hw = after.warp(picture(20, 30), (20, 30))
    kept_hw = picture(20, 30)[: 20 - (2 if expected_px == 8 else 1), : 30 - expected_px]
    assert np.array_equal(warped_hw[-kept_hw.shape[0] :, expected_px:], kept_hw)
