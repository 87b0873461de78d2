"""Frozen, black and slow cameras are told from still, dark and patient ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.health import Health, HealthLimits

MS = 1_000_000
LIMITS = HealthLimits(frozen_ms=2000, black_ms=3000, slow_fps=3)


def noisy(index: int) -> NDArray[Any]:
    rng = np.random.default_rng(index)
    return (100 + rng.integers(-1, 2, (60, 80))).astype(np.uint8)


def first_fault(
    picture: Callable[[int], NDArray[Any]], seconds: float, fps: float = 10, *, is_full: bool = True
) -> tuple[float, str] | None:
    """When and as what a new camera is called faulty."""
    health = Health(LIMITS)
    for index in range(round(seconds * fps)):
        frame = Frame(picture(index), None, round(index / fps * 1e9), "", is_full)
        fault = health.fault(frame, fps)
        if fault:
            return index / fps, fault
    return None


def test_a_still_scene_with_noise_is_healthy() -> None:
    assert first_fault(noisy, 30) is None


def test_an_exact_repeat_is_frozen_after_the_stated_time() -> None:
    assert first_fault(lambda index: noisy(min(index, 20)), 10) == (4.0, "frozen: one picture for 2 s")


def test_one_pixel_that_the_sample_misses_is_life() -> None:
    def picture(index: int) -> NDArray[Any]:
        picture_hw = noisy(0)
        picture_hw[1, 1] = index % 2
        return picture_hw

    assert first_fault(picture, 10) is None


def black(index: int) -> NDArray[Any]:
    return np.random.default_rng(index).integers(0, 3, (60, 80)).astype(np.uint8)


def frozen(index: int) -> NDArray[Any]:
    return noisy(0)


SPOILED = pytest.mark.parametrize(
    ("spoiled", "limit_s", "word"), [(frozen, 2.0, "frozen"), (black, 3.0, "black")]
)


class Camera:
    """A camera of ten frames a second that is judged; `time_s` is its next frame's."""

    def __init__(self, limits: HealthLimits = LIMITS) -> None:
        self.health, self.time_s, self._shown = Health(limits), 0.0, 0

    def show(self, picture: Callable[[int], NDArray[Any]], frames: int) -> list[str]:
        """What every frame is said to be: "" for delivered, "withheld", or its fault."""
        verdicts = []
        for _ in range(frames):
            frame = Frame(picture(self._shown), None, round(self.time_s * 1e9), "", True)
            fault = self.health.fault(frame, 10)
            verdicts.append(fault or ("withheld" if self.health.is_out else ""))
            self.time_s, self._shown = self.time_s + 0.1, self._shown + 1
        return verdicts

    def open_again(self, after_s: float) -> None:
        self.time_s += after_s
        self.health.restart()


@SPOILED
def test_a_camera_that_failed_is_withheld_until_it_shows_something_else(
    spoiled: Callable[[int], NDArray[Any]], limit_s: float, word: str
) -> None:
    """Each opening has the whole time to come right; a camera that stays so never counts in between."""
    camera, frames = Camera(), round(limit_s * 10)
    assert camera.show(noisy, 5) == [""] * 5
    verdicts = camera.show(spoiled, frames + 1)
    assert verdicts[:-1] == [""] * frames
    assert verdicts[-1].startswith(word)
    for _ in range(3):
        camera.open_again(8.0)
        verdicts = camera.show(spoiled, frames + 1)
        assert verdicts[:-1] == ["withheld"] * frames
        assert verdicts[-1].startswith(word)
    camera.open_again(8.0)
    assert camera.show(spoiled, 1) == ["withheld"]
    assert camera.show(noisy, 60) == [""] * 60


@SPOILED
def test_first_frames_that_are_spoiled_are_no_fault_after_an_outage(
    spoiled: Callable[[int], NDArray[Any]], limit_s: float, word: str
) -> None:
    """The exposure settles, or the driver hands out an old buffer; the outage is no part of the fault."""
    camera = Camera()
    camera.show(noisy, 5)
    camera.show(spoiled, 5)
    for _ in range(3):
        camera.open_again(60.0)
        assert camera.show(spoiled, 5) == [""] * 5
        assert camera.show(noisy, 5) == [""] * 5


@SPOILED
def test_a_pause_is_no_part_of_a_fault(
    spoiled: Callable[[int], NDArray[Any]], limit_s: float, word: str
) -> None:
    camera = Camera(HealthLimits(LIMITS.frozen_ms, LIMITS.black_ms))
    camera.show(spoiled, 5)
    camera.time_s += 4.0
    assert not any(camera.show(spoiled, round(limit_s * 10)))
    assert camera.show(spoiled, 1)[0].startswith(word)


@SPOILED
def test_a_check_that_is_switched_off_forgets(
    spoiled: Callable[[int], NDArray[Any]], limit_s: float, word: str
) -> None:
    camera, frames = Camera(), round(limit_s * 10)
    camera.show(noisy, 5)
    assert camera.show(spoiled, frames + 1)[-1].startswith(word)
    camera.open_again(1.0)
    assert camera.show(spoiled, 1) == ["withheld"]
    camera.health.limits = HealthLimits()
    assert not any(camera.show(spoiled, 100))
    camera.health.limits = LIMITS
    verdicts = camera.show(spoiled, frames + 1)
    assert verdicts[:-1] == [""] * frames
    assert verdicts[-1].startswith(word)


def test_a_rate_is_not_measured_over_the_time_in_which_nobody_asked() -> None:
    camera = Camera()
    assert not any(camera.show(noisy, 60))
    camera.health.limits = HealthLimits(frozen_ms=2000, black_ms=3000)
    assert not any(camera.show(noisy, 60))
    camera.health.limits = LIMITS
    assert not any(camera.show(noisy, 60))


@pytest.mark.parametrize("pause_s", [4.2, 4.9, 30.0])
def test_one_pause_is_not_too_slow(pause_s: float) -> None:
    camera = Camera()
    assert not any(camera.show(noisy, 60))
    camera.time_s += pause_s
    assert not any(camera.show(noisy, 60))


def test_pauses_alone_are_too_slow() -> None:
    verdicts = []
    camera = Camera()
    for _ in range(4):
        verdicts += camera.show(noisy, 1)
        camera.time_s += 6.0
    assert verdicts == ["", "", "too slow: 0.2 frames a second, 3 are the least", ""]


@pytest.mark.parametrize(
    ("level", "is_full", "is_black"), [(4, True, True), (12, True, False), (20, False, True)]
)
def test_black_is_a_picture_without_a_pixel_above_black(level: int, is_full: bool, is_black: bool) -> None:
    def picture(index: int) -> NDArray[Any]:
        return (level - np.random.default_rng(index).integers(0, 3, (64, 64))).astype(np.uint8)

    found = first_fault(picture, 10, is_full=is_full)
    assert found == ((3.0, "black for 3 s") if is_black else None)


def test_a_lamp_in_the_night_is_no_fault() -> None:
    def picture(index: int) -> NDArray[Any]:
        picture_hw = np.random.default_rng(index).integers(0, 3, (64, 64)).astype(np.uint8)
        picture_hw[20:40, 20:40] = 200
        return picture_hw

    assert first_fault(picture, 10) is None


def test_counts_of_a_cold_scene_are_not_black() -> None:
    assert first_fault(lambda index: np.full((8, 8), index % 5, np.uint16), 10) is None


def test_a_camera_that_falls_below_the_least_rate_is_too_slow() -> None:
    health = Health(LIMITS)
    time_ns, faults = 0, []
    for index in range(200):
        time_ns += (100 if index < 100 else 500) * MS
        fault = health.fault(Frame(noisy(index), None, time_ns, "", True), 10)
        if fault:
            faults.append((time_ns / 1e9, fault))
    assert faults[0][1].startswith("too slow: ")
    assert 13 < faults[0][0] < 16
    # The next verdict takes twice as long.
    assert 8 <= faults[1][0] - faults[0][0] <= 10


def test_a_camera_that_is_meant_to_be_slow_is_not_too_slow() -> None:
    assert first_fault(noisy, 60, fps=1) is None


def test_every_check_can_be_switched_off() -> None:
    health = Health(HealthLimits())
    black_hw = np.zeros((8, 8), np.uint8)
    assert not any(health.fault(Frame(black_hw, None, n * 10**10, "", True), 30) for n in range(20))
