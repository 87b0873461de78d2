"""Cuts between scenes are seen; lamps, hot patches, exposure, noise, pans and real clips are none."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.cameras.cut import CutDetector
from irvis_runtime.context import make_context
from irvis_runtime.image import luma_bt601, match_infrared, read_infrared, read_visible
from irvis_runtime.scenes.renderer import SceneRenderer
from irvis_runtime.scenes.scene import random_scene

pytestmark = pytest.mark.usefixtures("arithmetic")

SIZE_HW = (120, 160)
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(scope="module")
def scenes() -> list[list[Pair]]:
    """Four scenes, half a second of each at 10 frames a second; infrared, visible luma."""
    clips = []
    for seed, kind in ((1, "day"), (2, "night"), (3, "fog"), (4, "dusk")):
        renderer = SceneRenderer(random_scene(seed, SIZE_HW, kind))  # type: ignore[arg-type]
        clips.append(
            [
                (
                    renderer.infrared(index / 10),
                    luma_bt601(renderer.visible(index / 10)),
                )
                for index in range(6)
            ]
        )
    return clips


def cuts(frames: list[Pair]) -> list[int]:
    """The numbers of the frames that begin another scene."""
    detector = CutDetector()
    return [
        index
        for index, (infrared, visible) in enumerate(frames)
        if detector.is_cut(make_context(infrared, visible))
    ]


def test_scenes_that_move_are_not_cut(scenes: list[list[Pair]]) -> None:
    assert [cuts(clip) for clip in scenes] == [[], [], [], []]


def test_a_change_of_scene_is_one_cut(scenes: list[list[Pair]]) -> None:
    for one, two in combinations(scenes, 2):
        assert cuts(one + two) == [6]


def test_one_camera_that_is_switched_is_a_cut(scenes: list[list[Pair]]) -> None:
    (infrared, visible), (other, _) = scenes[0][0], scenes[2][0]
    assert cuts([(infrared, visible), (other, visible), (other, visible)]) == [1]


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
def test_a_lamp_or_a_hot_patch_is_no_cut(scenes: list[list[Pair]], share: float) -> None:
    """Up to a quarter of the picture at once, and everything else darker as exposure and AGC answer it."""
    side_y, side_x = (round(side * share**0.5) for side in SIZE_HW)
    for clip in scenes:
        for camera in (0, 1):
            pair = [picture.copy() for picture in clip[0]]
            pair[camera] = (pair[camera] * 0.6).astype(np.uint8)
            pair[camera][10 : 10 + side_y, 20 : 20 + side_x] = 255
            assert cuts([clip[0], (pair[0], pair[1]), clip[0]]) == []


@pytest.mark.parametrize(("gain", "offset"), [(0.4, 0), (1.0, 60), (0.7, 70), (1.6, -20)])
def test_exposure_and_a_shutters_offset_are_no_cut(
    scenes: list[list[Pair]], gain: float, offset: float
) -> None:
    for infrared, visible in (clip[0] for clip in scenes):
        changed = [
            np.clip(picture * gain + offset, 0, 255).astype(np.uint8) for picture in (infrared, visible)
        ]
        assert cuts([(infrared, visible), (changed[0], changed[1])]) == []


def test_a_flash_and_its_end_are_no_cut(scenes: list[list[Pair]]) -> None:
    infrared, visible = scenes[1][0]
    white = np.full_like(visible, 255)
    assert cuts([(infrared, visible), (infrared, white), (infrared, visible)]) == []


def test_noise_alone_is_no_cut() -> None:
    rng = np.random.default_rng(5)
    noise: list[Any] = [np.clip(rng.normal(30, 12, (480, 640)), 0, 255).astype(np.uint8) for _ in range(6)]
    assert cuts([(noise[index], noise[index + 1]) for index in range(5)]) == []


def test_a_pan_at_the_speed_of_a_turning_head_is_no_cut() -> None:
    """A picture's width in two seconds, at 30 frames a second."""
    renderer = SceneRenderer(random_scene(6, (240, 640), "day"))
    wide = luma_bt601(renderer.visible(0.0))
    steps = [wide[:, step : step + 320] for step in range(0, 320, 5)]
    assert cuts([(view, view) for view in steps]) == []


def context_of(folder: Path, name: str) -> NDArray[np.float32]:
    visible = read_visible(folder / "vis" / name).luma_hw
    infrared, _ = match_infrared(read_infrared(folder / "ir" / name), (visible.shape[0], visible.shape[1]))
    return make_context(infrared, visible)


@pytest.mark.slow
def test_a_real_clip_has_no_cut(shared: Path) -> None:
    folder = shared / "data/val/M3SVD/clips/0115_1847"
    detector = CutDetector()
    names = sorted(path.name for path in (folder / "vis").iterdir())
    assert len(names) > 10
    assert not any(detector.is_cut(context_of(folder, name)) for name in names)


@pytest.mark.slow
def test_pictures_of_other_places_are_cuts(shared: Path) -> None:
    folders = [
        shared / "data/val" / name for name in ("FMB", "KAIST", "LLVIP", "M3FD", "MSRS", "RoadScene", "TNO")
    ]
    contexts = [
        context_of(folder, sorted(path.name for path in (folder / "vis").iterdir())[0]) for folder in folders
    ]
    seen = []
    for one, two in combinations(contexts, 2):
        detector = CutDetector()
        detector.is_cut(one)
        seen.append(detector.is_cut(two))
    # A thermal and a visible night picture may both have too little structure to be compared.
    assert np.mean(seen) >= 0.9
