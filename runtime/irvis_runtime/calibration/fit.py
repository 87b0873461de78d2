"""Points in both pictures -> the homography between them, how far it can be trusted, or why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError
from irvis_runtime.image import opencv

Size = tuple[int, int]
Model = Literal["similarity", "affine", "homography"]
Points = NDArray[np.float64]

MIN_POINTS = 6
"""Four points fit any homography exactly and so tell nothing about it."""
MIN_INLIER_SHARE = 0.4
MIN_HULL_SHARE = 0.08
"""Of the infrared picture, that the points which agree must span."""
MAX_RESIDUAL_SHARE = 0.01
MAX_CORNER_SHARE = 0.015
"""Of the visible picture's width: the residual's 90th percentile, and the corners' own uncertainty."""
SIMPLER_BY = 1.05
"""A simpler model is kept where its error on points left out is at most this many times the best one's."""
FOLDS = 8
OUTSIDE_PX = 2.0
"""How far beyond a picture's border a point may be read."""
SCALES = (0.1, 10.0)
MAX_SCALE_RATIO = 3.0


@dataclass(frozen=True)
class Fit:
    """A homography, infrared pixels -> visible pixels, and what it rests on; all lengths in visible pixels.

    `is_inlier_n`: which of the points agree with it. `residual_px`: median, 90th percentile and largest of
    those. `corner_px`: how far the corners of the common view move, root mean square, by the points alone
    (jackknife).
    """

    homography_33: NDArray[np.float64]
    model: Model
    is_inlier_n: NDArray[np.bool_]
    residual_px: tuple[float, float, float]
    corner_px: float
    hull_share: float

    def summary(self) -> str:
        """One line for people."""
        median, p90, largest = self.residual_px
        return (
            f"{self.model}; {int(self.is_inlier_n.sum())} of {len(self.is_inlier_n)} points agree, over "
            f"{self.hull_share:.0%} of the infrared picture; residual median {median:.2f} px, "
            f"p90 {p90:.2f} px, max {largest:.2f} px; corners good to about {self.corner_px:.1f} px"
        )


def fit_points(
    infrared_n2: Points, visible_n2: Points, infrared_hw: Size, visible_hw: Size, tolerance_px: float
) -> Fit:
    """Returns the fit of point pairs, (N, 2) x and y each; outliers are those off by over `tolerance_px`.

    ContractError where the points are too few, on a line, outside the pictures, in one corner, at odds with
    each other, or where the homography is none that two cameras side by side can have.
    """
    check_points(infrared_n2, visible_n2)
    _check_inside("infrared", infrared_n2, infrared_hw)
    _check_inside("visible", visible_n2, visible_hw)
    inlier_n = _agreeing(infrared_n2, visible_n2, tolerance_px)
    count = int(inlier_n.sum())
    if count < max(MIN_POINTS, MIN_INLIER_SHARE * len(infrared_n2)):
        raise ContractError(
            f"{count} of {len(infrared_n2)} points agree within {tolerance_px:.1f} px, expected at least "
            f"{max(MIN_POINTS, math.ceil(MIN_INLIER_SHARE * len(infrared_n2)))}; "
            "check the points, and that neither picture is mirrored"
        )
    infrared, visible = infrared_n2[inlier_n], visible_n2[inlier_n]
    hull_share = _hull_area(infrared) / (infrared_hw[0] * infrared_hw[1])
    if hull_share < MIN_HULL_SHARE:
        raise ContractError(
            f"the points that agree span {hull_share:.1%} of the infrared picture, expected at least "
            f"{MIN_HULL_SHARE:.0%}; take points from all of the view"
        )
    model = choose_model(infrared, visible)
    homography_33 = solve(model, infrared, visible)
    check_plausible(homography_33, infrared_hw, visible_hw)
    residuals = np.linalg.norm(mapped(homography_33, infrared) - visible, axis=1)
    fit = Fit(
        homography_33,
        model,
        inlier_n,
        (float(np.median(residuals)), float(np.percentile(residuals, 90)), float(residuals.max())),
        _corner_uncertainty(model, infrared, visible, homography_33, infrared_hw, visible_hw),
        hull_share,
    )
    _check_precise(fit, visible_hw)
    return fit


def mapped(homography_33: NDArray[np.float64], points_n2: Points) -> Points:
    """The points through the homography, (N, 2) -> (N, 2)."""
    homogeneous = np.column_stack([points_n2, np.ones(len(points_n2))]) @ homography_33.T
    return np.asarray(homogeneous[:, :2] / homogeneous[:, 2:])


def corners_of(size_hw: Size) -> Points:
    """The corner pixels, (4, 2) x and y, clockwise from the top left."""
    right, bottom = size_hw[1] - 1, size_hw[0] - 1
    return np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)


def check_points(infrared_n2: Points, visible_n2: Points) -> None:
    """ContractError for fewer points than say anything, and for points on one line."""
    if len(infrared_n2) < MIN_POINTS:
        raise ContractError(
            f"expected at least {MIN_POINTS} point pairs, got {len(infrared_n2)}; "
            "add more, from all of the view"
        )
    for name, points_n2 in (("infrared", infrared_n2), ("visible", visible_n2)):
        across, along = np.linalg.svd(points_n2 - points_n2.mean(axis=0), compute_uv=False)[::-1]
        if not across > 0.02 * along:
            raise ContractError(f"the {name} points lie on one line; add points off that line")


def _check_inside(name: str, points_n2: Points, size_hw: Size) -> None:
    (height, width), beyond = size_hw, 0.5 + OUTSIDE_PX
    last_2 = np.array([width - 1, height - 1])
    is_outside_n = np.any((points_n2 < -beyond) | (points_n2 > last_2 + beyond), axis=1)
    if is_outside_n.any():
        index = int(np.argmax(is_outside_n))
        x, y = points_n2[index]
        raise ContractError(
            f"point {index + 1} ({x:g}, {y:g}) lies outside the {width}x{height} {name} picture "
            f"({int(is_outside_n.sum())} of {len(points_n2)} do); "
            "are the columns swapped, or was the picture scaled?"
        )


def choose_model(infrared_n2: Points, visible_n2: Points) -> Model:
    """Returns the simplest model whose error on points left out is about that of the best one."""
    errors: dict[Model, float] = {
        model: _error_left_out(model, infrared_n2, visible_n2)
        for model in ("similarity", "affine", "homography")
    }
    least = min(errors.values())
    return next(model for model, error in errors.items() if error <= SIMPLER_BY * least + 1e-6)


def solve(model: Model, infrared_n2: Points, visible_n2: Points) -> NDArray[np.float64]:
    """Least squares of visible pixels; returns the 3x3 with 1 at its end, NaN where there is no solution."""
    if model == "homography":
        homography_33, _ = opencv().findHomography(infrared_n2, visible_n2, 0)
        return np.full((3, 3), np.nan) if homography_33 is None else np.asarray(homography_33, np.float64)
    x, y = infrared_n2.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    columns = 2 if model == "similarity" else 4
    # One row for each visible x, then one for each visible y; a similarity turns (x, y) with two numbers.
    turn = [(x, y), (-y, x)] if columns == 2 else [(x, zero), (y, zero), (zero, x), (zero, y)]
    design = np.stack([np.concatenate(pair) for pair in (*turn, (one, zero), (zero, one))], axis=1)
    numbers = np.linalg.lstsq(design, visible_n2.T.ravel(), rcond=None)[0]
    if columns == 2:
        (a, b), (tx, ty) = numbers[:2], numbers[2:]
        return np.array([[a, -b, tx], [b, a, ty], [0, 0, 1]])
    (a, b, c, d), (tx, ty) = numbers[:4], numbers[4:]
    return np.array([[a, b, tx], [c, d, ty], [0, 0, 1]])


def check_plausible(homography_33: NDArray[np.float64], infrared_hw: Size, visible_hw: Size) -> None:
    """ContractError for a homography that mirrors, folds, scales or shifts as no two cameras of a rig do."""
    hint = "two cameras side by side cannot give it; check the points, and that neither picture is mirrored"
    if not np.isfinite(homography_33).all():
        raise ContractError(f"the points have no homography; {hint}")
    depths = np.column_stack([corners_of(infrared_hw), np.ones(4)]) @ homography_33[2]
    areas = [
        float(np.linalg.det(homography_33) / depth**3) if depth != 0 else float("inf") for depth in depths
    ]
    if min(areas) <= 0 or min(depths) * max(depths) <= 0:
        raise ContractError(f"the homography mirrors or folds the infrared picture; {hint}")
    scales = np.sqrt(areas) * infrared_hw[1] / visible_hw[1]
    if (
        not SCALES[0] < scales.min() <= scales.max() < SCALES[1]
        or scales.max() > MAX_SCALE_RATIO * scales.min()
    ):
        raise ContractError(
            f"the homography makes the infrared picture {scales.min():.2g} to {scales.max():.2g} times as "
            f"wide as the visible one; {hint}"
        )
    views = mapped(homography_33, corners_of(infrared_hw)), corners_of(visible_hw)
    shared_px, _ = opencv().intersectConvexConvex(*(corners.astype(np.float32) for corners in views))
    if not shared_px > 0:
        raise ContractError(f"the homography lays the infrared picture wholly beside the visible one; {hint}")


def _check_precise(fit: Fit, visible_hw: Size) -> None:
    p90, width = fit.residual_px[1], visible_hw[1]
    if p90 > MAX_RESIDUAL_SHARE * width:
        raise ContractError(
            f"the points agree within {p90:.1f} px only (p90), expected {MAX_RESIDUAL_SHARE * width:.1f}; "
            "take points at the distance that the rig works at, and from one plane if that is near"
        )
    if not fit.corner_px <= MAX_CORNER_SHARE * width:
        raise ContractError(
            f"the corners of the common view are uncertain by {fit.corner_px:.1f} px, expected at most "
            f"{MAX_CORNER_SHARE * width:.1f}; take more points, up to the edges of the view"
        )


def _agreeing(infrared_n2: Points, visible_n2: Points, tolerance_px: float) -> NDArray[np.bool_]:
    cv2 = opencv()
    homography_33, mask = cv2.findHomography(
        infrared_n2, visible_n2, cv2.USAC_MAGSAC, tolerance_px, maxIters=20_000, confidence=0.9999
    )
    if homography_33 is None or mask is None:
        return np.zeros(len(infrared_n2), np.bool_)
    return np.asarray(mask.ravel() > 0)


def _folds(count: int) -> list[NDArray[np.bool_]]:
    """Which points are kept in each fold; the points left out are spread evenly over their order."""
    folds = min(FOLDS, count)
    return [np.arange(count) % folds != fold for fold in range(folds)]


def _error_left_out(model: Model, infrared_n2: Points, visible_n2: Points) -> float:
    squares = []
    for kept in _folds(len(infrared_n2)):
        homography_33 = solve(model, infrared_n2[kept], visible_n2[kept])
        squares.append(np.sum((mapped(homography_33, infrared_n2[~kept]) - visible_n2[~kept]) ** 2, axis=1))
    error = float(np.sqrt(np.mean(np.concatenate(squares))))
    return error if np.isfinite(error) else float("inf")


def _corner_uncertainty(
    model: Model,
    infrared_n2: Points,
    visible_n2: Points,
    homography_33: NDArray[np.float64],
    infrared_hw: Size,
    visible_hw: Size,
) -> float:
    """Standard error of the common view's corners, by the delete-a-group jackknife."""
    # Corners that the visible camera does not see need not be right: they are drawn to its border.
    on_visible_42 = np.clip(mapped(homography_33, corners_of(infrared_hw)), 0, np.array(visible_hw[::-1]) - 1)
    corners_42 = mapped(np.asarray(np.linalg.inv(homography_33), np.float64), on_visible_42)
    folds = _folds(len(infrared_n2))
    moved = np.array(
        [mapped(solve(model, infrared_n2[kept], visible_n2[kept]), corners_42) for kept in folds]
    )
    deviations = np.sum((moved - moved.mean(axis=0)) ** 2, axis=2).mean(axis=1)
    return float(np.sqrt((len(folds) - 1) / len(folds) * deviations.sum()))


def _hull_area(points_n2: Points) -> float:
    cv2 = opencv()
    return float(cv2.contourArea(cv2.convexHull(points_n2.astype(np.float32))))
