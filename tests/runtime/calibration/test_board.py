"""Boards in both pictures: seen bright or dark, small, faint and noisy, and counted from the same end."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.calibration.board import BoardKind, find_board, match_boards
from irvis_runtime.calibration.fit import fit_points, mapped
from irvis_runtime.errors import ContractError

COLUMNS, ROWS, STEP = 7, 5, 60
SIZE = (COLUMNS, ROWS)
SIDE_HW = (ROWS * STEP + 100, COLUMNS * STEP + 100)


def board(kind: BoardKind) -> NDArray[np.uint8]:
    """A large bright board with dark marks."""
    picture_hw = np.full(SIDE_HW, 200, np.uint8)
    if kind == "checkerboard":
        for row in range(ROWS + 1):
            for column in range(COLUMNS + 1):
                if (row + column) % 2:
                    x, y = 20 + column * STEP, 20 + row * STEP
                    cv2.rectangle(picture_hw, (x, y), (x + STEP - 1, y + STEP - 1), 40, cv2.FILLED)
        return picture_hw
    for row in range(ROWS):
        for column in range(COLUMNS):
            x, y = 50 + column * STEP, 50 + row * STEP
            if kind == "asymmetric-circles":
                x, y = 50 + (2 * column + row % 2) * STEP // 2, 50 + row * STEP // 2
            cv2.circle(picture_hw, (x, y), STEP // 5 if kind == "circles" else STEP // 6, 40, cv2.FILLED)
    return picture_hw


def seen(kind: BoardKind, homography_33: NDArray[np.float64], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The board through a camera."""
    factor = 1 / np.sqrt(abs(np.linalg.det(homography_33[:2, :2])))
    blurred = cv2.GaussianBlur(board(kind), (0, 0), max(0.5 * factor, 0.3))
    return np.asarray(cv2.warpPerspective(blurred, homography_33, size_hw[::-1], borderValue=200), np.uint8)


VISIBLE_33 = np.array([[0.9, 0.03, 70.0], [-0.02, 0.92, 60.0], [2e-5, 1e-5, 1]])
INFRARED_33 = np.array([[0.31, -0.01, 20.0], [0.012, 0.31, 24.0], [1e-5, 0, 1]])


@pytest.mark.parametrize("kind", ["circles", "asymmetric-circles", "checkerboard"])
@pytest.mark.parametrize("is_hot", [False, True])
def test_a_board_gives_the_homography(kind: BoardKind, is_hot: bool) -> None:
    """The thermal picture is 192x160, of a fifth of the contrast, and noisy."""
    visible_hw = seen(kind, VISIBLE_33, (480, 640))
    infrared = 110 + 0.2 * (seen(kind, INFRARED_33, (160, 192)).astype(float) - 128)
    infrared += np.random.default_rng(0).normal(0, 1.0, infrared.shape)
    infrared_hw = np.clip(255 - infrared if is_hot else infrared, 0, 255).astype(np.uint8)
    infrared_n2, visible_n2, count = match_boards([(infrared_hw, visible_hw)], kind, SIZE)
    assert count == 1
    assert len(infrared_n2) == COLUMNS * ROWS
    true_33 = VISIBLE_33 @ np.linalg.inv(INFRARED_33)
    assert np.abs(mapped(true_33, infrared_n2) - visible_n2).max() < 2.5
    fit = fit_points(infrared_n2, visible_n2, (160, 192), (480, 640), 3.2)
    assert fit.is_inlier_n.mean() > 0.9


def test_pairs_without_a_board_are_passed_over() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (160, 192)).astype(np.uint8)
    good = seen("checkerboard", INFRARED_33, (160, 192)), seen("checkerboard", VISIBLE_33, (480, 640))
    _, _, count = match_boards([(noise, good[1]), good], "checkerboard", SIZE)
    assert count == 1


@pytest.mark.parametrize("kind", ["circles", "asymmetric-circles", "checkerboard"])
@pytest.mark.parametrize("size_hw", [(16, 16), (16, 1500)])
def test_a_picture_too_small_for_a_board_shows_none(kind: BoardKind, size_hw: tuple[int, int]) -> None:
    """Of under 600 pixels: OpenCV refuses a largest blob that is smaller than the smallest."""
    noise_hw = np.random.default_rng(0).integers(0, 255, size_hw).astype(np.uint8)
    assert find_board(noise_hw, kind, SIZE) is None


def test_no_board_at_all_is_refused() -> None:
    grey = np.full((60, 80), 128, np.uint8)
    assert find_board(grey, "checkerboard", SIZE) is None
    with pytest.raises(ContractError, match="not found in 1 infrared and 1 visible of 1 pictures"):
        match_boards([(grey, grey)], "circles", SIZE)
