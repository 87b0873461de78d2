"""Homographies from points: found through noise and outliers, the simplest model, and every refusal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.calibration.fit import (
    check_plausible,
    choose_model,
    corners_of,
    fit_points,
    mapped,
    solve,
)
from irvis_runtime.errors import ContractError

INFRARED_HW, VISIBLE_HW = (240, 320), (480, 640)
TRUE_33 = np.array([[1.7, 0.05, 40.0], [-0.04, 1.75, 22.0], [1e-5, -2e-5, 1.0]])
SIMILAR_33 = np.array([[1.8, -0.1, 30.0], [0.1, 1.8, 10.0], [0, 0, 1.0]])


def scattered(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Points all over the infrared picture."""
    return np.random.default_rng(seed).uniform((5, 5), (314, 234), (count, 2))


def corner_error_px(found_33: NDArray[np.float64], true_33: NDArray[np.float64] = TRUE_33) -> float:
    corners = corners_of(INFRARED_HW)
    return float(np.linalg.norm(mapped(found_33, corners) - mapped(true_33, corners), axis=1).mean())


def test_exact_points_give_the_homography() -> None:
    points = scattered(20)
    fit = fit_points(points, mapped(TRUE_33, points), INFRARED_HW, VISIBLE_HW, 3.0)
    assert fit.model == "homography"
    assert fit.is_inlier_n.all()
    assert fit.residual_px[2] < 1e-3
    assert corner_error_px(fit.homography_33) < 1e-2


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_noise_and_outliers_move_the_corners_little(seed: int) -> None:
    random, points = np.random.default_rng(seed), scattered(40, seed)
    visible = mapped(TRUE_33, points) + random.normal(0, 0.5, points.shape)
    # Towards the middle, so that they stay on the picture.
    visible[:8] += np.where(visible[:8] < (320, 240), 1, -1) * random.uniform(30, 90, (8, 2))
    fit = fit_points(points, visible, INFRARED_HW, VISIBLE_HW, 3.0)
    assert not fit.is_inlier_n[:8].any()
    assert fit.is_inlier_n[8:].sum() >= 30
    assert corner_error_px(fit.homography_33) < 4.0
    assert fit.residual_px[0] < 1.5


def test_the_uncertainty_tells_the_corner_error() -> None:
    """Over many draws the jackknife's number is about the true error's root mean square."""
    errors, told = [], []
    for seed in range(40):
        points = scattered(30, seed)
        noise = np.random.default_rng(seed + 1000).normal(0, 1.0, points.shape)
        fit = fit_points(points, mapped(TRUE_33, points) + noise, INFRARED_HW, VISIBLE_HW, 6.0)
        errors.append(corner_error_px(fit.homography_33))
        told.append(fit.corner_px)
    assert 0.5 < float(np.median(told)) / float(np.median(errors)) < 2.0


@pytest.mark.parametrize(
    ("true_33", "model"),
    [
        (SIMILAR_33, "similarity"),
        (np.array([[1.9, 0.1, 5], [0.0, 1.6, 9], [0, 0, 1]]), "affine"),
        (np.array([[1.7, 0.05, 40.0], [-0.04, 1.75, 22.0], [3e-4, -4e-4, 1.0]]), "homography"),
    ],
)
def test_the_simplest_model_that_holds_is_chosen(true_33: NDArray[np.float64], model: str) -> None:
    points = scattered(60, 1)
    noise = np.random.default_rng(2).normal(0, 0.3, points.shape)
    assert choose_model(points, mapped(true_33, points) + noise) == model


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 3), st.floats(-1, 1), st.floats(-200, 200), st.floats(-200, 200))
def test_every_model_finds_a_similarity(scale: float, turn: float, x: float, y: float) -> None:
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    true_33 = np.array([[cosine, -sine, x], [sine, cosine, y], [0, 0, 1]])
    points = scattered(12)
    for found_33 in (
        solve("similarity", points, mapped(true_33, points)),
        solve("affine", points, mapped(true_33, points)),
        solve("homography", points, mapped(true_33, points)),
    ):
        assert corner_error_px(found_33, true_33) < 1e-3


def line_points() -> NDArray[np.float64]:
    x = np.linspace(5, 310, 20)
    return np.column_stack([x, 0.5 * x + 10])


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (scattered(5), "expected at least 6 point pairs, got 5"),
        (line_points(), "the infrared points lie on one line"),
        (scattered(20) * 0.15 + 10, "the points that agree span"),
    ],
)
def test_points_that_say_too_little_are_refused(points: NDArray[np.float64], text: str) -> None:
    with pytest.raises(ContractError, match=text):
        fit_points(points, mapped(TRUE_33, points), INFRARED_HW, VISIBLE_HW, 3.0)


def test_points_at_odds_are_refused() -> None:
    points = scattered(30)
    visible = np.random.default_rng(5).uniform(0, 480, points.shape)
    with pytest.raises(ContractError, match="of 30 points agree within"):
        fit_points(points, visible, INFRARED_HW, VISIBLE_HW, 3.0)


def test_a_coarse_tolerance_does_not_hide_a_coarse_fit() -> None:
    points = scattered(30)
    visible = mapped(TRUE_33, points) + np.random.default_rng(5).normal(0, 12, points.shape)
    with pytest.raises(ContractError, match=r"agree within .* px only"):
        fit_points(points, visible, INFRARED_HW, VISIBLE_HW, 100.0)


def test_points_on_the_border_are_taken() -> None:
    infrared = np.vstack([scattered(20), corners_of(INFRARED_HW)])
    visible = infrared * [639 / 319, 479 / 239]
    # A person reads a corner as the number of columns, and a pixel beyond.
    infrared[-2], visible[-2] = (321, 241), (641, 481)
    assert fit_points(infrared, visible, INFRARED_HW, VISIBLE_HW, 3.0).is_inlier_n.all()


@pytest.mark.parametrize("which", ["infrared", "visible"])
@pytest.mark.parametrize("outside", [(-2.6, 10), (10, -2.6), (700, 10), (10, 700)])
def test_points_outside_their_picture_are_refused(which: str, outside: tuple[float, float]) -> None:
    infrared = scattered(20)
    visible = mapped(TRUE_33, infrared)
    (infrared if which == "infrared" else visible)[[2, 7]] = outside
    size = "320x240 infrared" if which == "infrared" else "640x480 visible"
    told = f"point 3 ({outside[0]:g}, {outside[1]:g}) lies outside the {size} picture (2 of 20 do)"
    with pytest.raises(ContractError, match=re.escape(told)):
        fit_points(infrared, visible, INFRARED_HW, VISIBLE_HW, 3.0)


@pytest.mark.parametrize("slip", ["columns swapped", "picture scaled", "shifted"])
def test_a_slip_in_the_points_is_refused(slip: str) -> None:
    """Each agrees with itself to the pixel, and is a homography that a rig could have."""
    infrared = scattered(20)
    visible = mapped(TRUE_33, infrared)
    if slip == "columns swapped":
        infrared, visible = visible, infrared
    elif slip == "picture scaled":
        infrared = infrared * 3
    else:
        infrared, visible = infrared + 1000, visible + 1000
    with pytest.raises(ContractError, match="are the columns swapped, or was the picture scaled"):
        fit_points(infrared, visible, INFRARED_HW, VISIBLE_HW, 3.0)


def test_a_mirrored_picture_is_refused() -> None:
    points = scattered(20)
    mirrored = mapped(SIMILAR_33, points) * [-1, 1] + [600, 0]
    with pytest.raises(ContractError, match="neither picture is mirrored"):
        fit_points(points, mirrored, INFRARED_HW, VISIBLE_HW, 3.0)


@pytest.mark.parametrize(
    "matrix",
    [
        np.diag([0.05, 0.05, 1.0]),
        np.diag([30.0, 30.0, 1.0]),
        np.diag([-1.0, 1.0, 1.0]),
        np.array([[1.0, 0, 0], [0, 1, 0], [0.004, 0, 1]]),
        np.array([[1.0, 0, 0], [0, 1, 0], [-0.01, 0, 1]]),
        np.full((3, 3), np.nan),
        np.array([[2.0, 0, 650], [0, 2, 0], [0, 0, 1]]),
        np.array([[2.0, 0, 0], [0, 2, -1000], [0, 0, 1]]),
        np.array([[2.0, 0, 1e9], [0, 2, 1e9], [0, 0, 1]]),
    ],
    ids=["tiny", "huge", "mirrored", "tilted", "folded", "none", "right", "above", "far"],
)
def test_what_no_rig_has_is_refused(matrix: NDArray[np.float64]) -> None:
    with pytest.raises(ContractError, match="two cameras side by side"):
        check_plausible(matrix, INFRARED_HW, VISIBLE_HW)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 6.0])
def test_a_view_within_the_other_is_plausible(scale: float) -> None:
    for shift in (-50.0, 0.0, 50.0):
        check_plausible(np.array([[scale, 0, shift], [0, scale, shift], [0, 0, 1]]), INFRARED_HW, VISIBLE_HW)


def test_the_sign_of_a_plausible_homography_does_not_matter() -> None:
    check_plausible(TRUE_33, INFRARED_HW, VISIBLE_HW)
    check_plausible(-TRUE_33, INFRARED_HW, VISIBLE_HW)


def test_the_landmarks_of_the_fixtures_give_their_homographies(shared: Path) -> None:
    """Published landmarks, each clicked to the whole pixel: a median corner error below 2 px."""
    path = shared / "data/fixtures/unaligned/VIS_IR_landmarks/homographies.json"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    errors = []
    for truth in json.loads(path.read_text()).values():
        infrared, visible = (np.rint(truth[f"landmarks_{kind}"]) for kind in ("moving", "fixed"))
        size_hw, visible_hw = (
            (int(points[:, 1].max()) + 20, int(points[:, 0].max()) + 20) for points in (infrared, visible)
        )
        fit = fit_points(infrared, visible, size_hw, visible_hw, 3.0)
        corners = corners_of(size_hw)
        true_33 = np.array(truth["H_moving_to_fixed_column_convention"])
        errors.append(
            np.linalg.norm(mapped(fit.homography_33, corners) - mapped(true_33, corners), axis=1).mean()
        )
    assert len(errors) == 9
    assert float(np.median(errors)) < 2.0
