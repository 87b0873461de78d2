"""Thermal cameras as data: how their pictures lie in a frame, and what their counts mean.

A number without a source is left out. The sources:

- Boson: UVC frames of 640x512 and 640x514 at 30 and 60 a second (saki4510t/UVCCamera issue 690); a 9 Hz kind
  has an SDK of its own (FLIR/rawBoson issue 12). The 2 rows of telemetry lie at the top or the bottom (FLIR's
  SDK: telemetrySetLocation). What a count is in its TLinear mode was not found; the rig may say it.
- Lepton: FLIR LEPTON Engineering Datasheet, 500-0659-00-09 rev. 203: 8.7 Hz; 3 telemetry rows of 80 words or
  2 of 160 (sections 4.2.2.2 and 4.2.3.2); 0.01 K a count in TLinear, which a radiometric Lepton may have
  off. PureThermal puts the telemetry below (flirpy, lepton.py; groupgets/purethermal1-firmware pull 22).
- Tiny1, inside InfiRay P2 Pro and Topdon TC001: 256x384 declared as YUYV at 25 a second, a picture above, as
  many rows of counts below, 1/64 K each (LeoDJ/P2Pro-Viewer, leswright1977/PyThermalCamera).
- A closed shutter repeats the last picture (purethermal1-firmware issue 39); the P2 Pro's stream pauses
  (yomboprime/yombir), which the pairing holds like any late camera.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

KELVIN_OFFSET = 273.15

SensorName = Literal["generic", "boson-320", "boson-640", "lepton-2", "lepton-3", "tiny1"]


@dataclass(frozen=True)
class Sensor:
    """One kind of thermal camera.

    `size_hw`: rows and columns of the picture; None takes any. `telemetry_rows`: what some frames have above
    or below it. `has_lepton_status`: the first telemetry row is the Lepton's row A. `rows_above`: rows of
    another picture, always there, above the counts. `kelvin_per_count`: from 0 K; None where counts are no
    temperatures. `rates_hz`: of new pictures. `is_noisy`: two live pictures never agree in every count.
    """

    name: str
    size_hw: tuple[int, int] | None = None
    telemetry_rows: int = 0
    has_lepton_status: bool = False
    rows_above: int = 0
    kelvin_per_count: float | None = None
    rates_hz: tuple[float, ...] = ()
    is_noisy: bool = True

    def celsius(self, counts: float) -> float | None:
        """Returns the temperature of a count; None where the sensor is not radiometric."""
        return None if self.kelvin_per_count is None else counts * self.kelvin_per_count - KELVIN_OFFSET

    def counts(self, value: float) -> float:
        """Returns the count of a temperature in degrees C; the value itself where counts are none."""
        return value if self.kelvin_per_count is None else (value + KELVIN_OFFSET) / self.kelvin_per_count


SENSORS: Mapping[SensorName, Sensor] = MappingProxyType(
    {
        # Files, streams and generated pictures may stand still: a repeat says nothing there.
        "generic": Sensor("generic", is_noisy=False),
        "boson-320": Sensor("boson-320", (256, 320), telemetry_rows=2, rates_hz=(9, 30, 60)),
        "boson-640": Sensor("boson-640", (512, 640), telemetry_rows=2, rates_hz=(9, 30, 60)),
        "lepton-2": Sensor("lepton-2", (60, 80), telemetry_rows=3, has_lepton_status=True, rates_hz=(8.7,)),
        "lepton-3": Sensor("lepton-3", (120, 160), telemetry_rows=2, has_lepton_status=True, rates_hz=(8.7,)),
        "tiny1": Sensor("tiny1", (192, 256), rows_above=192, kelvin_per_count=1 / 64, rates_hz=(25,)),
    }
)
