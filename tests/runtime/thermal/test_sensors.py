"""Named cameras: what lies in their frames, and what their counts mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irvis_runtime.errors import ContractError
from irvis_runtime.thermal.layout import split_frame
from irvis_runtime.thermal.sensors import SENSORS, SensorName
from irvis_runtime.thermal.telemetry import is_calibrating

WITH_TELEMETRY: list[SensorName] = ["boson-320", "boson-640", "lepton-2", "lepton-3"]


def frame(height: int, width: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    return np.arange(height * width, dtype=np.uint32).astype(np.uint16).reshape(height, width)


def test_any_frame_is_a_generic_sensors_whole_picture() -> None:
    frame_hw = frame(37, 41)
    parts = split_frame(frame_hw, SENSORS["generic"])
    assert parts.picture_hw is frame_hw
    assert parts.is_calibrating is None


@pytest.mark.parametrize("name", WITH_TELEMETRY)
def test_telemetry_rows_are_cut_off_without_a_copy(name: SensorName) -> None:
    sensor = SENSORS[name]
    assert sensor.size_hw is not None
    height, width = sensor.size_hw
    rows = sensor.telemetry_rows
    bare_hw, frame_hw = frame(height, width), frame(height + rows, width)
    assert split_frame(bare_hw, sensor).picture_hw is bare_hw
    below, above = split_frame(frame_hw, sensor), split_frame(frame_hw, sensor, "top")
    assert np.array_equal(below.picture_hw, frame_hw[:height])
    assert np.array_equal(above.picture_hw, frame_hw[rows:])
    assert below.picture_hw.base is not None
    assert (below.is_calibrating is not None) == sensor.has_lepton_status


@pytest.mark.parametrize(
    ("name", "size"),
    [("boson-640", "640 x 512 pixels, or 640 x 514"), ("tiny1", "256 x 384"), ("lepton-2", "80 x 60")],
)
def test_a_frame_of_another_camera_is_one_line(name: SensorName, size: str) -> None:
    with pytest.raises(ContractError, match=f"sensor {name}: expected frames of {size}") as caught:
        split_frame(frame(240, 320), SENSORS[name])
    assert "got 320 x 240" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_lower_half_of_a_tiny1_is_counts() -> None:
    frame_hw = frame(384, 256)
    picture_hw = split_frame(frame_hw, SENSORS["tiny1"]).picture_hw
    assert np.array_equal(picture_hw, frame_hw[192:])
    assert np.shares_memory(picture_hw, frame_hw)


def test_a_tiny1_in_8_bits_is_refused() -> None:
    with pytest.raises(ContractError, match="format=y16-yuyv"):
        split_frame(frame(384, 256).astype(np.uint8), SENSORS["tiny1"])


def test_an_8_bit_lepton_has_no_status() -> None:
    parts = split_frame(frame(122, 160).astype(np.uint8), SENSORS["lepton-3"])
    assert parts.picture_hw.shape == (120, 160)
    assert parts.is_calibrating is None


@pytest.mark.parametrize(
    ("low_word", "expected"),
    # Bits 4 and 5 of the datasheet's table 3, among others of the table: 3 FFC desired, 12 AGC, 15 lockout.
    [(0x0000, False), (0x0010, False), (0x0020, True), (0x0030, False), (0x9028, True), (0x9038, False)],
)
def test_a_leptons_status_tells_of_its_shutter(low_word: int, expected: bool) -> None:
    frame_hw = np.full((122, 160), 8000, np.uint16)
    frame_hw[120, :5] = (0x0E14, 1234, 0, low_word, 0xFFFF)
    assert split_frame(frame_hw, SENSORS["lepton-3"]).is_calibrating is expected
    assert is_calibrating(frame_hw[120]) is expected


@pytest.mark.parametrize(
    ("name", "count", "celsius"),
    [("tiny1", 19_082, 25.006), ("tiny1", 17_482, 0.006), ("boson-640", 1, None)],
)
def test_counts_are_temperatures_where_the_sensor_is_radiometric(
    name: SensorName, count: int, celsius: float | None
) -> None:
    expected = None if celsius is None else pytest.approx(celsius, abs=1e-3)
    assert SENSORS[name].celsius(count) == expected


@given(st.floats(-100, 700), st.sampled_from(sorted(SENSORS)))
def test_a_temperature_and_its_count_are_each_others_inverse(celsius: float, name: SensorName) -> None:
    sensor = SENSORS[name]
    count = sensor.counts(celsius)
    back = sensor.celsius(count)
    assert (count if back is None else back) == pytest.approx(celsius, abs=1e-6)


def test_each_sensor_is_known_by_its_own_name() -> None:
    assert all(sensor.name == name for name, sensor in SENSORS.items())
    assert [name for name, sensor in SENSORS.items() if not sensor.is_noisy] == ["generic"]
