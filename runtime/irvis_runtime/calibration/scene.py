"""Registration by the scene itself: searched, refined by many small matches, refused when in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError

from .fit import Fit, fit_points
from .refine import Matches, Reach, find_matches, work_factor
from .search import PicturePair, distinct, search

CANDIDATES = 3
MAX_RIVAL = 0.9
"""The second-best place's significance over the best one's, beyond which the scene is ambiguous."""
MIN_INLIERS = 14
ROUNDS = (Reach(28, 28), Reach(28, 14), Reach(24, 8), Reach(24, 8))
"""Wide first, for a coarse place is off by up to 4 % of the width; the last round gives the points."""
TOLERANCES_PX = (8.0, 4.0, 3.0, 2.5)


@dataclass(frozen=True)
class SceneFit:
    """A fit of a scene, its points, and the second-best place's significance over the best one's."""

    fit: Fit
    matches: Matches
    rival: float


def fit_scene(pairs: Sequence[PicturePair]) -> SceneFit:
    """Returns the registration that the pictures' common structure gives.

    `pairs`: (infrared, visible) uint8 of one rig that did not change, all of one size each. ContractError
    where the scene is ambiguous, or its matches too few, too narrow or at odds.
    """
    infrared_hw, visible_hw = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    places = list(islice(distinct(search(pairs), infrared_hw, visible_hw), CANDIDATES))
    if not places[0].significance > 0:
        raise ContractError(
            "the two pictures have no structure in common; take off lens caps and show both cameras a scene "
            "with edges in both, or use points or a board"
        )
    rival = max(places[1].significance / places[0].significance, 0.0) if len(places) > 1 else 0.0
    if rival > MAX_RIVAL:
        raise ContractError(
            f"the scene fits nearly as well elsewhere ({rival:.0%} of the best place); show both cameras a "
            "scene with more edges in both, or several scenes, or use points or a board"
        )
    fit, matches = refined(pairs, places[0].homography_33)
    return SceneFit(fit, matches, rival)


def refined(pairs: Sequence[PicturePair], homography_33: NDArray[np.float64]) -> tuple[Fit, Matches]:
    """Returns the fit of the last round of matching around a homography that is about right."""
    infrared_hw, visible_hw = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    factor = work_factor(visible_hw)
    for reach, tolerance_px in zip(ROUNDS, TOLERANCES_PX, strict=True):
        matches = find_matches(pairs, homography_33, reach)
        if len(matches.infrared_n2) < MIN_INLIERS:
            raise ContractError(
                f"{len(matches.infrared_n2)} places of the scene match clearly, expected at least "
                f"{MIN_INLIERS}; show both cameras a scene with more edges in both, or several scenes"
            )
        fit = fit_points(
            matches.infrared_n2, matches.visible_n2, infrared_hw, visible_hw, tolerance_px / factor
        )
        homography_33 = fit.homography_33
    if int(fit.is_inlier_n.sum()) < MIN_INLIERS:
        raise ContractError(
            f"{int(fit.is_inlier_n.sum())} places of the scene agree, expected at least {MIN_INLIERS}; "
            "show both cameras a scene with more edges in both, or several scenes"
        )
    return fit, matches
