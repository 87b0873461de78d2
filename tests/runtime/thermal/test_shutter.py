"""The closed shutter: seen in exact repeats and in telemetry, not in a still scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.image import read_picture
from irvis_runtime.thermal.shutter import ShutterWatch

MS = 1_000_000


def noisy(index: int) -> NDArray[np.uint16]:
    """A still scene with the noise of a sensor."""
    return (8000 + np.random.default_rng(index).normal(0, 1.5, (120, 160))).astype(np.uint16)


def test_noise_is_never_frozen() -> None:
    watch = ShutterWatch(200)
    assert all(watch.is_new(noisy(index), index * 33 * MS) for index in range(50))
    assert (watch.is_frozen, watch.freezes, watch.held_ms) == (False, 0, 0)


def test_repeats_are_not_new_and_freeze_after_a_while() -> None:
    watch = ShutterWatch(200)
    story = []
    for time_ms in range(0, 1000, 50):
        # The camera repeats what it saw at 300 ms until 700 ms, each time in memory of its own.
        index = 300 if 300 <= time_ms < 700 else time_ms
        story.append((time_ms, watch.is_new(noisy(index), time_ms * MS), watch.is_frozen))
        if time_ms == 650:
            assert watch.held_ms == 350
    assert [time_ms for time_ms, is_new, _ in story if not is_new] == list(range(350, 700, 50))
    assert [time_ms for time_ms, _, is_frozen in story if is_frozen] == list(range(500, 700, 50))
    assert watch.freezes == 1


def test_a_stumble_is_no_freeze() -> None:
    """A 9 Hz camera behind a 27 Hz stream sends each picture three times."""
    watch = ShutterWatch(287)
    new = [watch.is_new(noisy(index // 3), index * 37 * MS) for index in range(27)]
    assert new == [True, False, False] * 9
    assert watch.freezes == 0


def test_one_pixel_makes_a_picture_new() -> None:
    watch = ShutterWatch(0)
    last_hw = noisy(1)
    changed_hw = last_hw.copy()
    changed_hw[3, 5] += 1
    assert watch.is_new(last_hw, 0)
    assert watch.is_new(changed_hw, 1)
    assert watch.is_new(changed_hw[:60], 2)
    assert watch.is_new(changed_hw[:60].astype(np.uint8), 3)


def test_where_repeats_say_nothing_all_is_new() -> None:
    watch = ShutterWatch(100, watches_repeats=False)
    assert all(watch.is_new(noisy(0), index * 100 * MS) for index in range(5))
    assert not watch.is_frozen


def test_telemetry_freezes_at_once_and_whatever_the_pictures() -> None:
    watch = ShutterWatch(200, watches_repeats=False)
    states = (False, True, True, False)
    story = [
        (watch.is_new(noisy(index), index * 115 * MS, state), watch.is_frozen)
        for index, state in enumerate(states)
    ]
    assert story == [(True, False), (False, True), (False, True), (True, False)]
    assert watch.freezes == 1


def test_the_first_picture_is_shown_even_while_calibrating() -> None:
    watch = ShutterWatch(200)
    assert watch.is_new(noisy(0), 0, True)
    assert not watch.is_new(noisy(1), 115 * MS, True)


def test_real_noise_never_repeats(raw16: Path) -> None:
    """The camera rests in most of these 60 frames."""
    watch = ShutterWatch(0)
    paths = sorted((raw16 / "Lepton16_sequence").glob("*.tiff"))
    assert all(watch.is_new(read_picture(path), i * 115 * MS) for i, path in enumerate(paths))


@pytest.mark.parametrize("step_ms", [-100, 0])
def test_a_clock_that_does_not_run_freezes_nothing(step_ms: int) -> None:
    watch = ShutterWatch(200)
    for index in range(5):
        watch.is_new(noisy(0), (1000 + index * step_ms) * MS)
    assert not watch.is_frozen
