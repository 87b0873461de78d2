"""The measurement: drawn views are true, known homographies are read, and the table counts right."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from irvis_runtime.calibration.evaluate import Trial, corner_error_px, drawn_homography, evaluate_folder
from irvis_runtime.calibration.fit import check_plausible, corners_of, mapped
from irvis_runtime.errors import ContractError


def write_pair(folder: Path, name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (12, 16)).astype(np.uint8)
    picture_hw = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)
    for kind, written_hw in (("ir", 255 - picture_hw), ("vis", picture_hw)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / kind / f"{name}.png"), written_hw)


def test_a_folder_gives_a_row_for_each_set_and_way(tmp_path: Path) -> None:
    write_pair(tmp_path / "first", "a", 0)
    write_pair(tmp_path / "first", "b", 1)
    write_pair(tmp_path / "second", "a", 2)
    table = evaluate_folder(tmp_path, 1, 0, tmp_path / "trials.json").splitlines()
    assert [line.split("|")[1:4] for line in table[2:]] == [
        [f" {way} ", f" {name} ", f" {count} "]
        for way in ("points", "scene")
        for name, count in (("first", 1), ("second", 1), ("all", 2))
    ]
    trials = json.loads((tmp_path / "trials.json").read_text())
    assert [trial["way"] for trial in trials] == ["points", "scene"] * 2
    assert all(trial["corner_px"] is None or trial["corner_px"] < 8 for trial in trials)


def test_known_homographies_are_read(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", 0)
    key = "H_moving_to_fixed_column_convention"
    (tmp_path / "homographies.json").write_text(json.dumps({"a": {key: np.eye(3).tolist()}}))
    evaluate_folder(tmp_path, 0, 0, tmp_path / "trials.json")
    points = json.loads((tmp_path / "trials.json").read_text())[0]
    assert points["corner_px"] < 4
    (tmp_path / "homographies.json").write_text(json.dumps({"a": {key: [1, 2]}}))
    with pytest.raises(ContractError, match="a 3x3 matrix, got none"):
        evaluate_folder(tmp_path, 0, 0, None)


@pytest.mark.parametrize("name", ["homographies.json", "ir/a.png", "vis/a.PNG"])
def test_the_report_overwrites_no_input(tmp_path: Path, name: str) -> None:
    write_pair(tmp_path, "a", 0)
    with pytest.raises(ContractError, match="might overwrite an input; name another"):
        evaluate_folder(tmp_path, 0, 0, tmp_path / name)


def test_a_trial_far_off_is_wrong_and_a_refused_one_is_not() -> None:
    assert Trial("d", "n", "scene", 640, 16.1, "", 0.0).is_wrong
    assert not Trial("d", "n", "scene", 640, 15.9, "", 0.0).is_wrong
    assert not Trial("d", "n", "scene", 640, None, "why", 0.0).is_wrong


def test_corner_error_of_a_shift_is_its_length() -> None:
    shift_33 = np.array([[1.0, 0, 3], [0, 1, 4], [0, 0, 1]])
    assert corner_error_px(shift_33, np.eye(3), (60, 80)) == pytest.approx(5.0)


def test_drawn_views_are_those_of_two_cameras_side_by_side() -> None:
    for seed in range(50):
        drawn_33 = drawn_homography(np.random.default_rng(seed), (192, 256), (240, 320))
        check_plausible(drawn_33, (192, 256), (240, 320))
        width = np.ptp(mapped(drawn_33, corners_of((192, 256)))[:, 0])
        assert 0.5 * 320 < width < 1.3 * 320


def test_points_are_clicked_only_where_both_cameras_see(tmp_path: Path) -> None:
    """Half of the infrared view lies beyond the visible one."""
    write_pair(tmp_path, "a", 0)
    key = "H_moving_to_fixed_column_convention"
    truth = [[1, 0, 80], [0, 1, 0], [0, 0, 1]]
    (tmp_path / "homographies.json").write_text(json.dumps({"a": {key: truth}}))
    evaluate_folder(tmp_path, 0, 0, tmp_path / "trials.json")
    trial = json.loads((tmp_path / "trials.json").read_text())[0]
    assert (trial["way"], trial["refusal"]) == ("points", "")


@pytest.mark.slow
def test_scenes_of_the_fixtures_are_found_and_none_wrong(shared: Path, tmp_path: Path) -> None:
    """As in runtime/README.md; the limits leave room for other versions of OpenCV."""
    folder = shared / "data/fixtures/unaligned/VIS_IR_landmarks"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    evaluate_folder(folder, 0, 0, tmp_path / "trials.json")
    trials = json.loads((tmp_path / "trials.json").read_text())
    by_way = {way: [t for t in trials if t["way"] == way] for way in ("points", "scene")}
    for way, limit_px in (("points", 2.0), ("scene", 5.0)):
        errors = [trial["corner_px"] for trial in by_way[way] if trial["corner_px"] is not None]
        assert len(errors) >= 7
        assert float(np.median(errors)) < limit_px
    assert not any(Trial(**trial).is_wrong for trial in by_way["scene"])
