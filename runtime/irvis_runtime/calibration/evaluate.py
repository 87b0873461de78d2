"""How far off the found homographies are, on pairs whose homography is known."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.atomic import write_text
from irvis_runtime.errors import ContractError
from irvis_runtime.image import match_infrared, opencv, read_infrared, read_visible
from irvis_runtime.model_files.checked_files import read_file
from irvis_runtime.pairs import Pair, find_dataset_pairs
from irvis_runtime.picture_files import PICTURE_SUFFIXES
from irvis_runtime.strict_json import parse

from .fit import corners_of, fit_points, mapped
from .scene import fit_scene
from .search import PicturePair

TRUTH_FILE = "homographies.json"
TRUTH_KEY = "H_moving_to_fixed_column_convention"
"""As in the published landmarks of Multi-modality-image-matching; moving is infrared, fixed is visible."""
MAX_BYTES = 1 << 24
SIDE_PX = 640
VIEW_SHARE = 0.8
ZOOMS, TURN_DEG, JITTER_SHARE = (0.6, 1.15), 4.0, 0.01
"""Made views: infrared view over visible view, turn, and how far each corner is moved, of the width."""
POINTS, NOISE_PX, OUTLIERS = 20, 0.5, 4
DRAWN = 40 * POINTS
"""Points to take the first ones of that both cameras see."""
WRONG_SHARE = 0.025
"""Of the visible width: a corner error beyond is a wrong answer, not a rough one."""

Way = Literal["points", "scene"]


@dataclass(frozen=True)
class Trial:
    """One registration: of which pair, its mean corner error, or why there is none."""

    dataset: str
    name: str
    way: Way
    width_px: int
    corner_px: float | None
    refusal: str
    seconds: float

    @property
    def is_wrong(self) -> bool:
        """Whether it was accepted and far off."""
        return self.corner_px is not None and self.corner_px > WRONG_SHARE * self.width_px


@dataclass(frozen=True)
class Known:
    """An (infrared, visible) pair and its homography, infrared pixels -> visible pixels."""

    pictures: PicturePair
    homography_33: NDArray[np.float64]


def evaluate_folder(folder: Path, limit: int, seed: int, report: Path | None) -> str:
    """Returns a Markdown table, one row for each set at or below `folder` and way of calibrating.

    A set with homographies.json has its truth there. Any other set is taken as registered already: each
    infrared picture is seen anew through a drawn homography. `limit` pairs of each set (0: all); `seed`
    draws. Every trial goes to `report` as JSON.
    """
    if report is not None and (report.name == TRUTH_FILE or report.suffix.lower() in PICTURE_SUFFIXES):
        raise ContractError(f"{report}: a report of this name might overwrite an input; name another .json")
    trials: list[Trial] = []
    taken: dict[str, int] = {}
    for index, pair in enumerate(find_dataset_pairs(folder)):
        # Neighbouring frames of a clip are one scene.
        dataset, _, name = pair.name.rpartition("/")
        taken[dataset] = taken.get(dataset, 0) + 1
        if limit and taken[dataset] > limit:
            continue
        random = np.random.default_rng((seed, index))
        known = _known(folder / dataset, name, pair, random)
        label = dataset or folder.name
        trials += [_by_points(known, label, name, random), _by_scene(known, label, name)]
        sys.stderr.write(f"{label}/{name}: {_told(trials[-1])}\n")
    if report is not None:
        write_text(report, json.dumps([asdict(trial) for trial in trials], indent=1) + "\n")
    return _table(trials)


def corner_error_px(
    found_33: NDArray[np.float64], true_33: NDArray[np.float64], infrared_hw: tuple[int, int]
) -> float:
    """Mean distance, on the visible picture, of the infrared picture's four corners by two homographies."""
    corners = corners_of(infrared_hw)
    return float(np.linalg.norm(mapped(found_33, corners) - mapped(true_33, corners), axis=1).mean())


def drawn_homography(
    random: np.random.Generator, infrared_hw: tuple[int, int], visible_hw: tuple[int, int]
) -> NDArray[np.float64]:
    """A homography of two cameras side by side: zoom, turn, shift, and corners moved a little."""
    rows, columns = visible_hw
    zoom = math.exp(random.uniform(*np.log(ZOOMS)))
    angle = math.radians(random.uniform(-TURN_DEG, TURN_DEG))
    scale = zoom * min(columns / infrared_hw[1], rows / infrared_hw[0])
    size = np.array([columns, rows], np.float64)
    centred = corners_of(infrared_hw) - corners_of(infrared_hw).mean(axis=0)
    turn_22 = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    middle = (size - 1) / 2 + random.uniform(-1, 1, 2) * (abs(1 - zoom) / 2 + 0.04) * size
    moved = scale * centred @ turn_22 + middle + random.uniform(-1, 1, (4, 2)) * JITTER_SHARE * columns
    cv2 = opencv()
    return np.asarray(
        cv2.getPerspectiveTransform(corners_of(infrared_hw).astype(np.float32), moved.astype(np.float32))
    )


def _known(folder: Path, name: str, pair: Pair, random: np.random.Generator) -> Known:
    infrared_hw, visible_hw = read_infrared(pair.infrared), read_visible(pair.visible).luma_hw
    truth = folder / TRUTH_FILE
    if truth.is_file():
        return Known((infrared_hw, visible_hw), _read_truth(truth, name))
    cv2 = opencv()
    factor = min(1.0, SIDE_PX / max(visible_hw.shape))
    size = round(visible_hw.shape[1] * factor), round(visible_hw.shape[0] * factor)
    infrared_hw, _ = match_infrared(infrared_hw, size[::-1])
    visible_hw = cv2.resize(visible_hw, size, interpolation=cv2.INTER_AREA)
    view = round(size[0] * VIEW_SHARE), round(size[1] * VIEW_SHARE)
    homography_33 = drawn_homography(random, view[::-1], size[::-1])
    seen_hw = cv2.warpPerspective(
        infrared_hw,
        homography_33,
        view,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return Known((seen_hw, visible_hw), homography_33)


def _read_truth(path: Path, name: str) -> NDArray[np.float64]:
    content = read_file(path, "a JSON file of homographies", MAX_BYTES).decode("utf-8", "replace")
    pairs = parse(content, str(path), f"each pair needs {TRUTH_KEY}, a 3x3 matrix").mapping()
    rows = pairs[name].mapping().get(TRUTH_KEY) if name in pairs else None
    try:
        homography_33 = np.array(None if rows is None else rows.value, np.float64)
    except (TypeError, ValueError):
        homography_33 = np.zeros(0)
    if homography_33.shape != (3, 3) or not np.isfinite(homography_33).all():
        raise ContractError(f"{path}: expected {TRUTH_KEY} of {name!r}, a 3x3 matrix, got none; add it")
    return homography_33


def _by_points(known: Known, dataset: str, name: str, random: np.random.Generator) -> Trial:
    """Points as a person clicks them: half a pixel of noise in both pictures, and a fifth wrong."""
    began_s = time.perf_counter()
    (infrared_rows, infrared_columns), visible_hw = known.pictures[0].shape, known.pictures[1].shape
    infrared_hw = (infrared_rows, infrared_columns)
    drawn_n2 = random.uniform(0.05, 0.95, (DRAWN, 2)) * infrared_hw[::-1]
    on_visible_n2 = mapped(known.homography_33, drawn_n2)
    # Nobody clicks what the visible camera does not see.
    is_seen_n = np.all((on_visible_n2 >= 0) & (on_visible_n2 < visible_hw[::-1]), axis=1)
    infrared_n2, visible_n2 = drawn_n2[is_seen_n][:POINTS], on_visible_n2[is_seen_n][:POINTS]
    visible_n2 += random.normal(0, NOISE_PX, visible_n2.shape)
    visible_n2[:OUTLIERS] = random.uniform(0, 1, visible_n2[:OUTLIERS].shape) * visible_hw[::-1]
    noisy_n2 = infrared_n2 + random.normal(0, NOISE_PX, infrared_n2.shape)
    try:
        fit = fit_points(noisy_n2, visible_n2, infrared_hw, visible_hw, 5 * NOISE_PX)
    except ContractError as error:
        return Trial(dataset, name, "points", visible_hw[1], None, str(error), time.perf_counter() - began_s)
    error_px = corner_error_px(fit.homography_33, known.homography_33, infrared_hw)
    return Trial(dataset, name, "points", visible_hw[1], error_px, "", time.perf_counter() - began_s)


def _by_scene(known: Known, dataset: str, name: str) -> Trial:
    began_s = time.perf_counter()
    infrared_hw, width_px = known.pictures[0].shape, known.pictures[1].shape[1]
    try:
        found = fit_scene([known.pictures])
    except ContractError as error:
        return Trial(dataset, name, "scene", width_px, None, str(error), time.perf_counter() - began_s)
    error_px = corner_error_px(found.fit.homography_33, known.homography_33, (infrared_hw[0], infrared_hw[1]))
    return Trial(dataset, name, "scene", width_px, error_px, "", time.perf_counter() - began_s)


def _told(trial: Trial) -> str:
    if trial.corner_px is None:
        return f"refused: {trial.refusal}"
    return f"corners off by {trial.corner_px:.2f} px of {trial.width_px}"


def _table(trials: Sequence[Trial]) -> str:
    lines = [
        "| way | set | pairs | refused | wrong | corner error px, median | p90 | of the width, median | s |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    ways: tuple[Way, ...] = ("points", "scene")
    for way in ways:
        of_way = [trial for trial in trials if trial.way == way]
        datasets = list(dict.fromkeys(trial.dataset for trial in of_way))
        for dataset in datasets:
            lines.append(_row(way, dataset, [trial for trial in of_way if trial.dataset == dataset]))
        if len(datasets) > 1:
            lines.append(_row(way, "all", of_way))
    return "\n".join(lines) + "\n"


def _row(way: Way, dataset: str, trials: Sequence[Trial]) -> str:
    found = [(trial.corner_px, trial.width_px) for trial in trials if trial.corner_px is not None]
    refused = len(trials) - len(found)
    wrong = sum(trial.is_wrong for trial in trials)
    errors = [error_px for error_px, _ in found]
    shares = [error_px / width_px for error_px, width_px in found]
    numbers = (
        f"{np.median(errors):.2f} | {np.percentile(errors, 90):.2f} | {np.median(shares):.2%}"
        if errors
        else " |  | "
    )
    seconds = float(np.median([trial.seconds for trial in trials]))
    return f"| {way} | {dataset} | {len(trials)} | {refused} | {wrong} | {numbers} | {seconds:.1f} |"
