"""The thermal camera of a rig, from its frames to 8-bit pictures, its temperatures, and its shutter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.cameras.frames import Frame
from irvis_runtime.cameras.luma_range import to_full_range

from .agc import Agc, FixedAgc, LinearAgc, PlateauAgc
from .config import ThermalConfig
from .gain import SmoothGain
from .layout import split_frame
from .palettes import colourise
from .sensors import Sensor
from .shutter import ShutterWatch
from .temperatures import measure_celsius

GREYS_PER_KELVIN = 128.0
GREYS_PER_COUNT = 4.0
"""Most grey levels by default, so that noise of 0.05 K, or of one raw count, stays at 6 levels or less."""


class ThermalInput:
    """Takes the frames of the thermal camera in order, and answers for it."""

    def __init__(self, config: ThermalConfig) -> None:
        self.config, self.sensor = config, config.described_sensor()
        self.shutter = ShutterWatch(config.longest_repeat_ms(), _watches_repeats(config, self.sensor))
        self.seen_ns = 0
        """When the newest frame was taken, new or not."""
        self._gain = SmoothGain(make_agc(config, self.sensor), config.agc_s)
        self._newest_hw: NDArray[Any] | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether the camera repeats its last picture, as behind a closed shutter."""
        return self.shutter.is_frozen

    def take(self, frame: Frame) -> Frame | None:
        """Returns the frame cropped to its picture, or None where it only repeats the last one.

        ContractError where the frame is not of the sensor that the rig names.
        """
        parts = split_frame(frame.luma_hw, self.sensor, self.config.telemetry)
        self.seen_ns = frame.time_ns
        is_calibrating = parts.is_calibrating if self.config.freeze != "off" else None
        was_frozen = self.is_frozen
        if not self.shutter.is_new(parts.picture_hw, frame.time_ns, is_calibrating):
            return None
        if was_frozen:
            # What is measured behind the shutter may move all counts together.
            self._gain.restart()
        self._newest_hw = parts.picture_hw
        return frame if parts.picture_hw is frame.luma_hw else replace(frame, luma_hw=parts.picture_hw)

    def take_over(self, other: ThermalInput) -> None:
        """Goes on with the gain and the shutter of another, as far as this one's table asks for the same."""
        one, two = self.config, other.config
        if (
            replace(two, palette=one.palette, spot=one.spot, freeze=one.freeze, freeze_ms=one.freeze_ms)
            == one
        ):
            self._gain = other._gain
        if (one.sensor, one.freeze, one.freeze_ms) == (two.sensor, two.freeze, two.freeze_ms):
            self.shutter = other.shutter
        self.seen_ns, self._newest_hw = other.seen_ns, other._newest_hw

    def eight_bit(self, frame: Frame) -> NDArray[np.uint8]:
        """Returns a frame that `take` gave as full-range grey levels, uint8 (H, W)."""
        if frame.luma_hw.dtype == np.uint16:
            return self._gain.apply(frame.luma_hw, frame.time_ns)
        return frame.luma_hw if frame.is_full_range else to_full_range(frame.luma_hw)

    def colourise(
        self, grey_hw: NDArray[np.uint8], colorimetry: str, is_full_range: bool
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Returns NV12's two planes of a full-range grey picture in the rig's palette."""
        return colourise(grey_hw, self.config.palette, colorimetry, is_full_range)

    def status(self) -> dict[str, Any]:
        """The status file's `thermal`: the sensor, its shutter, and degrees C, null where there are none."""
        return {
            "sensor": self.sensor.name,
            "is_frozen": self.is_frozen,
            "freezes": self.shutter.freezes,
            **measure_celsius(self._newest_hw, self.sensor, self.config.spot),
        }


def make_agc(config: ThermalConfig, sensor: Sensor) -> Agc:
    """Returns the gain control that the rig asks for, in the sensor's counts."""
    if config.range is not None:
        low, high = config.range
        return FixedAgc(sensor.counts(low), sensor.counts(high))
    if config.max_gain is not None:
        max_gain = config.max_gain
    elif sensor.kelvin_per_count is not None:
        max_gain = GREYS_PER_KELVIN * sensor.kelvin_per_count
    else:
        max_gain = GREYS_PER_COUNT
    if config.agc == "plateau":
        return PlateauAgc(config.plateau_percent, max_gain)
    return LinearAgc(max_gain)


def _watches_repeats(config: ThermalConfig, sensor: Sensor) -> bool:
    return config.freeze == "repeats" or (config.freeze == "auto" and sensor.is_noisy)
