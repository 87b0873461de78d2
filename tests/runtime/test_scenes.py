"""Scenes: what is invented must look alike twice, lie where its homography says, and move without popping."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.scenes import (
    KINDS,
    VIEWPOINTS,
    Kind,
    Scene,
    SceneRenderer,
    Target,
    Viewpoint,
    random_scene,
)

HEIGHT, WIDTH = 120, 160
FRAME_S = 1 / 30


@lru_cache(maxsize=32)
def renderer(seed: int, kind: Kind, viewpoint: Viewpoint = "road") -> SceneRenderer:
    return SceneRenderer(Scene(seed, HEIGHT, WIDTH, kind, viewpoint))


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(np.float32) - b).mean())


def detail_agreement(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Correlation of what is finer than a few pixels."""
    fine = [picture - cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 4) for picture in (a, b)]
    return float(np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1])


def centroid(weight_hw: NDArray[np.floating]) -> NDArray[np.float64]:
    rows, columns = np.mgrid[: weight_hw.shape[0], : weight_hw.shape[1]]
    total = weight_hw.sum()
    return np.array([(columns * weight_hw).sum() / total, (rows * weight_hw).sum() / total])


def lonely_people(scene_renderer: SceneRenderer, smallest_px: float) -> list[Target]:
    """People in full view at second 0, well inside the picture and away from each other."""
    targets, found = scene_renderer.targets(0.0), []
    for target in targets:
        left, top, right, bottom = target.box_px
        inside = left > 4 and top > 4 and right < WIDTH - 4 and bottom < HEIGHT - 4
        boxes = [other.box_px for other in targets if other is not target]
        alone = all(b[0] > right + 3 or b[2] < left - 3 or b[1] > bottom + 3 or b[3] < top - 3 for b in boxes)
        if target.label == "person" and inside and alone and target.area_px >= smallest_px:
            found.append(target)
    return found


def test_equal_scenes_and_times_give_equal_pictures() -> None:
    one, other = (SceneRenderer(Scene(5, HEIGHT, WIDTH, "dusk")) for _ in range(2))
    other.frame(7.0)
    a, b = one.frame(1.5), other.frame(1.5)
    np.testing.assert_array_equal(a.infrared_hw, b.infrared_hw)
    np.testing.assert_array_equal(a.visible_hw3, b.visible_hw3)


def test_another_seed_is_another_place() -> None:
    a, b = renderer(5, "day").frame(0.0), renderer(6, "day").frame(0.0)
    assert difference(a.visible_hw3, b.visible_hw3) > 10
    assert difference(a.infrared_hw, b.infrared_hw) > 10


def test_one_band_alone_equals_the_pair() -> None:
    scene = renderer(3, "night")
    frame, raw = scene.frame(2.0), scene.frame_raw(2.0)
    np.testing.assert_array_equal(scene.infrared(2.0), frame.infrared_hw)
    np.testing.assert_array_equal(scene.visible(2.0), frame.visible_hw3)
    np.testing.assert_array_equal(scene.infrared_counts(2.0), raw.counts_hw)
    np.testing.assert_array_equal(raw.visible_hw3, frame.visible_hw3)


def test_the_size_of_the_raw_camera_changes_nothing_else() -> None:
    scene = Scene(3, HEIGHT, WIDTH, "night")
    other = SceneRenderer(scene, raw_size_hw=(40, 50)).frame(2.0)
    np.testing.assert_array_equal(renderer(3, "night").visible(2.0), other.visible_hw3)
    np.testing.assert_array_equal(renderer(3, "night").infrared(2.0), other.infrared_hw)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    height=st.integers(16, 75),
    width=st.integers(16, 75),
    time_s=st.floats(0, 1000),
    kind=st.sampled_from(KINDS),
    viewpoint=st.sampled_from(VIEWPOINTS),
)
def test_any_size_and_seed_gives_pictures(
    seed: int, height: int, width: int, time_s: float, kind: Kind, viewpoint: Viewpoint
) -> None:
    raw = SceneRenderer(Scene(seed, height, width, kind, viewpoint), raw_size_hw=(17, 33)).frame_raw(time_s)
    assert raw.infrared_hw.shape == raw.counts_hw.shape == (17, 33)
    assert raw.infrared_hw.dtype == np.uint8
    assert raw.counts_hw.dtype == np.uint16
    assert raw.visible_hw3.shape == (height, width, 3)
    assert raw.visible_hw3.dtype == np.uint8
    kelvin = raw.counts_hw / 100
    assert 200 < kelvin.min() <= kelvin.max() < 400


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**63 - 1))
def test_random_scene_is_drawn_from_the_seed(seed: int) -> None:
    scene = random_scene(seed, (24, 40))
    assert scene == random_scene(seed, (24, 40))
    assert (scene.height_px, scene.width_px) == (24, 40)
    assert random_scene(seed, kind="fog", viewpoint="aerial") == Scene(seed, 480, 640, "fog", "aerial")


def test_random_scenes_are_of_every_kind_and_viewpoint() -> None:
    scenes = [random_scene(seed) for seed in range(60)]
    assert {scene.kind for scene in scenes} == set(KINDS)
    assert {scene.viewpoint for scene in scenes} == set(VIEWPOINTS)


@pytest.mark.parametrize("seed", range(4))
def test_homography_brings_the_raw_infrared_onto_the_visible_picture(seed: int) -> None:
    scene = renderer(seed, "overcast")
    frame, raw = scene.frame(1.0), scene.frame_raw(1.0)
    warped = cv2.warpPerspective(raw.infrared_hw, raw.homography_33, (WIDTH, HEIGHT), borderValue=1)
    whole = cv2.warpPerspective(np.full_like(raw.infrared_hw, 255), raw.homography_33, (WIDTH, HEIGHT))
    assert whole.min() == 255, "the raw view must cover the whole picture"
    window = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)
    shift, _ = cv2.phaseCorrelate(frame.infrared_hw.astype(np.float32), warped.astype(np.float32), window)
    assert np.linalg.norm(shift) < 0.35
    unregistered = np.asarray(cv2.resize(raw.infrared_hw, (WIDTH, HEIGHT)), np.uint8)
    agreement = detail_agreement(frame.infrared_hw, np.asarray(warped, np.uint8))
    assert agreement > detail_agreement(frame.infrared_hw, unregistered) + 0.1


def test_a_hot_target_in_the_raw_infrared_is_where_the_homography_says() -> None:
    checked = 0
    for seed in range(8):
        scene = renderer(seed, "night")
        registered, raw = scene.infrared(0.0), scene.frame_raw(0.0)
        grid = np.stack(np.meshgrid(*(np.arange(side) for side in raw.infrared_hw.shape[::-1])), axis=-1)
        mapped = cv2.perspectiveTransform(grid.reshape(-1, 1, 2).astype(np.float64), raw.homography_33)
        mapped = mapped.reshape(grid.shape)
        for target in lonely_people(scene, smallest_px=20):
            left, top, right, bottom = target.box_px
            box = registered[top - 2 : bottom + 2, left - 2 : right + 2].astype(np.float64)
            # Every part of the body that is clearly warm counts alike, whatever the two fixed patterns add.
            cool, span = np.median(registered), box.max() - np.median(registered)
            body = np.clip((box - cool) / (0.2 * span) - 1.5, 0, 1)
            here = centroid(body) + np.array([left - 2, top - 2])
            inside = ((mapped > (left - 2, top - 2)) & (mapped < (right + 1, bottom + 1))).all(axis=-1)
            raw_body = np.clip((raw.infrared_hw - cool) / (0.2 * span) - 1.5, 0, 1) * inside
            there = (mapped * raw_body[..., None]).sum(axis=(0, 1)) / raw_body.sum()
            assert np.linalg.norm(there - here) < 1.0
            checked += 1
    assert checked >= 4


@pytest.mark.parametrize("viewpoint", VIEWPOINTS)
@pytest.mark.parametrize("kind", ["day", "night"])
def test_frames_follow_each_other_smoothly(kind: Kind, viewpoint: Viewpoint) -> None:
    scene = renderer(1, kind, viewpoint)
    frames = [scene.frame(time_s) for time_s in (3.0, 3.0 + FRAME_S, 6.0)]
    for band in ("infrared_hw", "visible_hw3"):
        # A quarter of the size: noise, which is new in every frame, averages out.
        first, second, later = (
            cv2.resize(getattr(frame, band), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
            for frame in frames
        )
        step = difference(np.asarray(first, np.uint8), np.asarray(second, np.uint8))
        leap = difference(np.asarray(first, np.uint8), np.asarray(later, np.uint8))
        assert 0.01 < step < 3
        assert step < leap


def test_what_moves_moves_steadily() -> None:
    scene = renderer(2, "overcast")
    places = [
        {(target.label, round(target.distance_m)): target.centre_px for target in scene.targets(k * FRAME_S)}
        for k in (0, 1)
    ]
    common = [(places[0][key], places[1][key]) for key in places[0] if key in places[1]]
    assert common
    assert all(np.hypot(a[0] - b[0], a[1] - b[1]) < 6 for a, b in common)


def test_people_are_hotter_than_what_is_around_them() -> None:
    hotter = []
    for seed in range(8):
        scene = renderer(seed, "night")
        grey_hw = scene.infrared(0.0).astype(np.float64)
        for target in lonely_people(scene, smallest_px=20):
            left, top, right, bottom = target.box_px
            around = grey_hw[max(0, top - 4) : bottom + 4, max(0, left - 6) : right + 6]
            hotter.append(np.percentile(grey_hw[top:bottom, left:right], 80) > np.median(around))
    assert len(hotter) >= 4
    assert np.mean(hotter) > 0.9


@pytest.mark.parametrize(("seed", "viewpoint"), [(1, "road"), (2, "road"), (1, "aerial")])
def test_night_is_darker_than_dusk_than_day(seed: int, viewpoint: Viewpoint) -> None:
    means = [renderer(seed, kind, viewpoint).visible(0.0).mean() for kind in ("night", "dusk", "day")]
    assert means[0] < means[1] < means[2]


def test_fog_veils_the_visible_picture_more_than_the_infrared_one() -> None:
    def contrast(picture: NDArray[np.uint8]) -> float:
        return float(np.abs(np.diff(picture.astype(np.float32), axis=1)).mean())

    kept = []
    for seed in range(4):
        clear, fog = renderer(seed, "overcast").frame(0.0), renderer(seed, "fog").frame(0.0)
        kept.append(
            (
                contrast(fog.visible_hw3) / contrast(clear.visible_hw3),
                contrast(fog.infrared_hw) / contrast(clear.infrared_hw),
            )
        )
    visible, infrared = np.median(kept, axis=0)
    assert visible < 0.8
    assert infrared > visible


def test_lamps_are_bright_to_the_eye_but_not_to_the_thermal_camera() -> None:
    lamps = []
    for seed in range(8):
        frame = renderer(seed, "night").frame(0.0)
        bright = frame.visible_hw3.min(axis=-1) > 235
        if bright.sum() >= 5:
            lamps.append(float((frame.infrared_hw[bright] > 245).mean()))
    assert len(lamps) >= 2
    assert np.median(lamps) < 0.5


def test_the_statistics_of_many_scenes_are_wide() -> None:
    frames = [SceneRenderer(random_scene(seed, (32, 48))).frame(0.0) for seed in range(16)]
    visible_means = [frame.visible_hw3.mean() for frame in frames]
    infrared_deviations = [frame.infrared_hw.std() for frame in frames]
    assert min(visible_means) < 35
    assert max(visible_means) > 120
    assert min(infrared_deviations) < 18
    assert max(infrared_deviations) > 45
    assert any((frame.infrared_hw == 255).mean() > 0.002 for frame in frames)


def test_counts_and_grey_levels_are_one_measurement() -> None:
    raw = renderer(4, "day").frame_raw(0.0)
    order = np.argsort(raw.counts_hw, axis=None)
    grey = raw.infrared_hw.ravel()[order].astype(int)
    assert np.diff(grey).min() >= -1
    assert grey[-1] > grey[0]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"seed": 1, "height_px": 15}, "sides of 16 px or more, got 640x15"),
        ({"seed": 1, "kind": "rain"}, "kind is one of day, overcast, dusk, night, fog, got 'rain'"),
        ({"seed": 1, "viewpoint": "sea"}, "viewpoint is one of road, aerial, got 'sea'"),
    ],
)
def test_a_scene_that_cannot_be_rendered_is_refused(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(ContractError, match=expected):
        Scene(**fields)


def test_a_raw_camera_that_is_too_small_is_refused() -> None:
    with pytest.raises(ContractError, match="raw infrared needs sides of 16 px or more"):
        SceneRenderer(Scene(1, 32, 32), raw_size_hw=(8, 32))


def test_importing_scenes_loads_no_opencv() -> None:
    code = "import sys, irvis_runtime.scenes; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_opencv_the_renderer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BackendError, match="pip install opencv-python-headless"):
        SceneRenderer(Scene(1, 32, 32))
