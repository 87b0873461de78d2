"""The thermal camera of a rig as a whole: cropped, held while it repeats, measured, coloured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.cameras.frames import FULL_RANGE, Frame
from irvis_runtime.config import from_mapping
from irvis_runtime.thermal.config import ThermalConfig
from irvis_runtime.thermal.input import ThermalInput
from irvis_runtime.thermal.sensors import Sensor
from irvis_runtime.thermal.temperatures import measure_celsius

MS = 1_000_000


def thermal(**values: Any) -> ThermalInput:
    return ThermalInput(from_mapping(ThermalConfig, values, "rig.toml"))


def frame(luma_hw: NDArray[Any], time_ms: int) -> Frame:
    return Frame(luma_hw, None, time_ms * MS, FULL_RANGE, True)


def lepton(time_ms: int, state: int, seed: int | None = None) -> Frame:
    rng = np.random.default_rng(time_ms if seed is None else seed)
    counts_hw = rng.normal(8000, 5, (122, 160)).astype(np.uint16)
    counts_hw[120, 3] = state << 4
    return frame(counts_hw, time_ms)


def test_a_generic_camera_is_left_alone() -> None:
    """Also where its pictures repeat, as a still file's do."""
    camera = thermal()
    still_hw = np.full((48, 64), 7, np.uint16)
    for time_ms in range(0, 2000, 100):
        given = frame(still_hw, time_ms)
        assert camera.take(given) is given
    assert not camera.is_frozen


def test_a_named_camera_is_cropped_and_held_through_its_shutter() -> None:
    camera = thermal(sensor="lepton-3")
    story = []
    for time_ms, state in ((0, 3), (115, 3), (230, 2), (345, 2), (460, 3)):
        taken = camera.take(lepton(time_ms, state))
        story.append((None if taken is None else taken.time_ns // MS, camera.is_frozen))
        assert taken is None or taken.luma_hw.shape == (120, 160)
    assert story == [(0, False), (115, False), (None, True), (None, True), (460, False)]
    assert camera.seen_ns == 460 * MS
    assert camera.status()["freezes"] == 1


@pytest.mark.parametrize(("freeze", "is_frozen"), [("auto", True), ("off", False)])
def test_the_shutter_can_be_left_to_itself(freeze: str, is_frozen: bool) -> None:
    camera = thermal(sensor="lepton-3", freeze=freeze)
    for time_ms in range(0, 1000, 115):
        camera.take(lepton(time_ms, 2, seed=1))
    assert camera.is_frozen == is_frozen


def test_repeats_of_a_generic_camera_count_where_the_rig_says_so() -> None:
    camera = thermal(freeze="repeats", freeze_ms=300)
    taken = [camera.take(frame(np.zeros((48, 64), np.uint8), time_ms)) for time_ms in range(0, 500, 100)]
    assert [one is not None for one in taken] == [True, False, False, False, False]
    assert camera.is_frozen


def test_a_held_picture_does_not_move_the_gain() -> None:
    camera = thermal(sensor="lepton-3", agc_s=0.5)
    first = camera.take(lepton(0, 3))
    assert first is not None
    before_hw = camera.eight_bit(first)
    assert camera.take(lepton(115, 2)) is None
    assert np.array_equal(camera.eight_bit(first), before_hw)


def test_counts_that_a_correction_moved_are_shown_as_before() -> None:
    camera, shown = thermal(sensor="lepton-3", agc_s=10.0), []
    for time_ms, state, shift in ((0, 3, 0), (115, 2, 0), (900, 3, 30)):
        given = lepton(time_ms, state, seed=5)
        given.luma_hw[:120] += np.uint16(shift)
        taken = camera.take(given)
        if taken is not None:
            shown.append(camera.eight_bit(taken))
    before_hw, after_hw = shown
    assert np.array_equal(before_hw, after_hw)


def test_the_status_has_temperatures_of_radiometric_counts_alone() -> None:
    counts_hw = np.full((120, 160), round((20 + 273.15) / 0.01), np.uint16)
    counts_hw[60:63, 80:83] = round((35.5 + 273.15) / 0.01)
    counts_hw[5, 5] = 0
    counts_hw[7, 9] = 65535
    radiometric, raw = thermal(sensor="lepton-3", kelvin_per_count=0.01, spot=[0.51, 0.51]), thermal()
    unknown = {"min_c": None, "max_c": None, "spot_c": None}
    for camera in (radiometric, raw):
        assert unknown.items() <= camera.status().items()
        camera.take(frame(counts_hw, 0))
    expected = {"sensor": "lepton-3", "is_frozen": False, "freezes": 0}
    assert radiometric.status() == {**expected, "min_c": 20.0, "max_c": 35.5, "spot_c": 35.5}
    assert raw.status() == {"sensor": "generic", "is_frozen": False, "freezes": 0, **unknown}


def test_8_bit_pictures_have_no_temperatures() -> None:
    camera = thermal(sensor="tiny1")
    assert measure_celsius(np.zeros((4, 4), np.uint8), camera.sensor, (0.5, 0.5))["max_c"] is None


@pytest.mark.parametrize("spot", [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])
def test_a_spot_may_lie_on_the_edge(spot: tuple[float, float]) -> None:
    counts_hw = np.arange(30_000, 30_000 + 48 * 64, dtype=np.uint16).reshape(48, 64)
    measured = measure_celsius(counts_hw[:, ::2], Sensor("any", kelvin_per_count=0.01), spot)["spot_c"]
    assert measured is not None
    x, y = (-1 if share == 1.0 else 0 for share in spot)
    assert measured == pytest.approx(counts_hw[:, ::2][y, x] * 0.01 - 273.15, abs=1)


def test_a_fixed_range_shows_equal_temperatures_equally() -> None:
    camera = thermal(kelvin_per_count=0.01, agc="fixed", range=[0, 100])
    for time_ms, celsius in ((0, 0), (100, 50), (200, 100)):
        counts_hw = np.full((16, 16), round((celsius + 273.15) * 100), np.uint16)
        taken = camera.take(frame(counts_hw, time_ms))
        assert taken is not None
        assert camera.eight_bit(taken)[0, 0] == pytest.approx(celsius * 2.55, abs=1)
