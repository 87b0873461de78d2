"""The picture inside a thermal camera's frame, and what else lies there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from irvis_runtime.errors import ContractError

from .sensors import Sensor
from .telemetry import is_calibrating


@dataclass(frozen=True)
class Parts:
    """A frame in its parts, as views: no pixel is copied.

    `picture_hw`: uint16 counts, or the uint8 luma of a camera that made the picture itself. `is_calibrating`:
    by telemetry; None where the frame has none that is understood.
    """

    picture_hw: NDArray[Any]
    is_calibrating: bool | None = None


def split_frame(
    frame_hw: NDArray[Any], sensor: Sensor, telemetry: Literal["bottom", "top"] = "bottom"
) -> Parts:
    """Returns the parts of a frame; ContractError where its size is not the sensor's."""
    if sensor.size_hw is None:
        return Parts(frame_hw)
    height, width = sensor.size_hw
    frame_height = sensor.rows_above + height
    if sensor.rows_above:
        _check(sensor, frame_hw, frame_height, width)
        if frame_hw.dtype.itemsize != 2:
            raise ContractError(
                f"[thermal] sensor {sensor.name}: expected counts of 16 bit, got {frame_hw.dtype}; "
                "open it as v4l2:///dev/videoN?format=y16-yuyv"
            )
        return Parts(frame_hw[sensor.rows_above :])
    if frame_hw.shape != (frame_height + sensor.telemetry_rows, width):
        _check(sensor, frame_hw, frame_height, width)
        return Parts(frame_hw)
    is_below = telemetry == "bottom"
    start = 0 if is_below else sensor.telemetry_rows
    is_words = sensor.has_lepton_status and frame_hw.dtype.itemsize == 2
    row_a = frame_hw[height if is_below else 0]
    return Parts(frame_hw[start : start + height], is_calibrating(row_a) if is_words else None)


def _check(sensor: Sensor, frame_hw: NDArray[Any], height: int, width: int) -> None:
    if frame_hw.shape == (height, width):
        return
    rows = f", or {width} x {height + sensor.telemetry_rows} with telemetry" if sensor.telemetry_rows else ""
    raise ContractError(
        f"[thermal] sensor {sensor.name}: expected frames of {width} x {height} pixels{rows}, got "
        f'{frame_hw.shape[1]} x {frame_hw.shape[0]}; name the camera, or sensor = "generic"'
    )
