"""Registration by a generated scene: found where structure is shared, refused where there is none."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.calibration.evaluate import corner_error_px
from irvis_runtime.calibration.refine import Reach, find_matches
from irvis_runtime.calibration.scene import fit_scene
from irvis_runtime.calibration.search import PicturePair, distinct, search
from irvis_runtime.errors import ContractError
from irvis_runtime.thermal.agc import stretch_to_8_bit

VISIBLE_HW, INFRARED_HW = (240, 320), (160, 208)
TRUE_33 = np.array([[1.2, -0.05, 30.0], [0.05, 1.2, 12.0], [1e-5, -1e-5, 1.0]])
"""Infrared -> visible: four fifths of the visible view, turned by two degrees."""


@cache
def pair(seed: int = 0) -> PicturePair:
    """Boxes and discs whose brightness and heat have nothing in common but their edges."""
    random = np.random.default_rng(seed)
    visible_hw, heat_hw = np.full(VISIBLE_HW, 90, np.uint8), np.full(VISIBLE_HW, 120, np.uint8)
    for _ in range(45):
        x, y = (int(random.integers(0, side)) for side in VISIBLE_HW[::-1])
        width, height = (int(side) for side in random.integers(8, 50, 2))
        grey, heat = (int(level) for level in random.integers(20, 236, 2))
        for picture_hw, level in ((visible_hw, grey), (heat_hw, heat)):
            if width % 2:
                cv2.ellipse(picture_hw, (x, y), (width // 2, height // 2), 0, 0, 360, level, cv2.FILLED)
            else:
                cv2.rectangle(picture_hw, (x, y), (x + width, y + height), level, cv2.FILLED)
    infrared_hw = cv2.warpPerspective(
        heat_hw, TRUE_33, INFRARED_HW[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return noisy(np.asarray(infrared_hw, np.uint8), random), noisy(visible_hw, random)


def noisy(picture_hw: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    blurred = cv2.GaussianBlur(picture_hw, (0, 0), 0.8).astype(float) + random.normal(0, 2, picture_hw.shape)
    return np.clip(np.rint(blurred), 0, 255).astype(np.uint8)


def test_the_search_is_near_at_its_first_place() -> None:
    places = list(distinct(search([pair()]), INFRARED_HW, VISIBLE_HW))
    assert corner_error_px(places[0].homography_33, TRUE_33, INFRARED_HW) < 0.04 * VISIBLE_HW[1]
    assert places[1].significance < 0.8 * places[0].significance


def test_matches_around_the_truth_lie_on_it() -> None:
    matches = find_matches([pair()], TRUE_33, Reach(24, 8))
    assert len(matches.infrared_n2) > 20
    homogeneous = np.column_stack([matches.infrared_n2, np.ones(len(matches.infrared_n2))]) @ TRUE_33.T
    errors = np.linalg.norm(homogeneous[:, :2] / homogeneous[:, 2:] - matches.visible_n2, axis=1)
    assert float(np.median(errors)) < 0.7


def test_a_scene_gives_the_homography() -> None:
    found = fit_scene([pair()])
    assert corner_error_px(found.fit.homography_33, TRUE_33, INFRARED_HW) < 2.0
    assert found.rival < 0.8
    assert found.fit.hull_share > 0.3


@pytest.mark.slow
def test_several_pictures_of_one_rig_give_more_points() -> None:
    one, two = fit_scene([pair(1)]), fit_scene([pair(1), pair(2)])
    assert two.fit.is_inlier_n.sum() > 1.5 * one.fit.is_inlier_n.sum()
    assert corner_error_px(two.fit.homography_33, TRUE_33, INFRARED_HW) < 2.0


def flat(seed: int) -> NDArray[np.uint8]:
    return noisy(np.full(VISIBLE_HW, 100, np.uint8), np.random.default_rng(seed))


def stripes() -> NDArray[np.uint8]:
    return np.tile((np.arange(VISIBLE_HW[1]) // 16 % 2 * 120 + 60).astype(np.uint8), (VISIBLE_HW[0], 1))


def of_counts(hot: int = 30000) -> NDArray[np.uint8]:
    """One temperature everywhere, and a pixel of another."""
    counts_hw = np.full(INFRARED_HW, 30000, np.uint16)
    counts_hw[100, 100] = hot
    return stretch_to_8_bit(counts_hw)


@pytest.mark.parametrize(
    "hopeless",
    [
        (np.zeros(INFRARED_HW, np.uint8), pair()[1]),
        (pair()[0], np.zeros(VISIBLE_HW, np.uint8)),
        (of_counts(), of_counts()),
        (of_counts(hot=60000), of_counts()),
        (np.zeros((16, 1500), np.uint8), pair()[1]),
    ],
    ids=["infrared lens cap", "visible lens cap", "flat counts", "hot pixel", "strip"],
)
def test_pictures_without_structure_are_refused(hopeless: PicturePair) -> None:
    with pytest.raises(ContractError, match="no structure in common"):
        fit_scene([hopeless])


@pytest.mark.parametrize(
    "hopeless",
    [(flat(0), flat(1)), (stripes(), stripes()), (pair(3)[0], pair(4)[1]), (pair(3)[0], flat(1))],
    ids=["empty", "stripes", "two scenes", "one empty"],
)
def test_a_scene_that_says_nothing_is_refused(hopeless: PicturePair) -> None:
    with pytest.raises(ContractError) as caught:
        fit_scene([hopeless])
    assert "\n" not in str(caught.value)
