"""The rig's [thermal] table: which thermal camera it is, and how its counts become a picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from irvis_runtime.errors import ContractError

from .agc import FARTHEST_COUNT, LEAST_SPAN
from .palettes import PaletteName
from .sensors import SENSORS, Sensor, SensorName

AgcKind = Literal["linear", "plateau", "fixed"]

DEFAULT_PLATEAU_PERCENT = 0.1
FREEZE_PERIODS = 2.5
LEAST_FREEZE_MS = 200.0
"""A bus that stumbles repeats a picture too; a shutter takes 300 ms and more."""


@dataclass(frozen=True)
class ThermalConfig:
    """The thermal camera."""

    sensor: SensorName = field(
        default="generic",
        metadata={"doc": "which camera: layout of its frames, meaning of its counts; tiny1: P2 Pro, TC001"},
    )
    telemetry: Literal["bottom", "top"] = field(
        default="bottom", metadata={"doc": "where a Boson or Lepton puts its telemetry rows, if it sends any"}
    )
    kelvin_per_count: float | None = field(
        default=None,
        metadata={"doc": "of 16-bit counts that are temperatures, 0.01 for a Lepton's TLinear; else absent"},
    )
    agc: AgcKind = field(
        default="linear",
        metadata={"doc": "16 bit to 8: between percentiles, plateau equalization, or a fixed range"},
    )
    range: tuple[float, float] | None = field(
        default=None,
        metadata={"doc": "[black, white] of agc = fixed, in degrees C where counts are temperatures"},
    )
    plateau_percent: float = field(
        default=DEFAULT_PLATEAU_PERCENT,
        metadata={"doc": "of the pixels; a count with more takes no more grey levels; small: linear"},
    )
    max_gain: float | None = field(
        default=None,
        metadata={"doc": "most grey levels of one count, against noise; absent: 4, or 128 of a kelvin"},
    )
    agc_s: float = field(
        default=1.0, metadata={"doc": "time constant with which the gain follows the scene; 0: at once"}
    )
    freeze: Literal["auto", "repeats", "off"] = field(
        default="auto",
        metadata={"doc": "whether pictures that repeat exactly are a closed shutter; auto: of named sensors"},
    )
    freeze_ms: float | None = field(
        default=None,
        metadata={"doc": "repeats for so long are called frozen; absent: 2.5 frames, 200 at least"},
    )
    palette: PaletteName = field(
        default="white-hot", metadata={"doc": "colours of the thermal picture where it goes out alone"}
    )
    spot: tuple[float, float] = field(
        default=(0.5, 0.5),
        metadata={"doc": "[x, y] of the measured spot, 0 to 1 of the thermal picture"},
    )

    def __post_init__(self) -> None:
        """ContractError for what does not fit together."""
        if (self.agc == "fixed") != (self.range is not None):
            raise ContractError(
                'range: expected [black, white] together with agc = "fixed", '
                f"got agc = {self.agc!r} and range = {None if self.range is None else list(self.range)}"
            )
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ContractError(f"range: expected [black, white], black below white, got {list(self.range)}")
        for name in ("kelvin_per_count", "max_gain", "freeze_ms"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ContractError(f"{name}: expected more than 0, got {value:g}")
        if self.range is not None:
            black, white = (self.described_sensor().counts(value) for value in self.range)
            is_line = white - black >= LEAST_SPAN and max(abs(black), abs(white)) <= FARTHEST_COUNT
            if not is_line:
                raise ContractError(
                    f"range: expected black and white {LEAST_SPAN:g} counts apart or more, and within "
                    f"{FARTHEST_COUNT:g} counts, got {list(self.range)}, counts {black:g} and {white:g}"
                )
        if not 0 < self.plateau_percent <= 100:
            raise ContractError(
                f"plateau_percent: expected more than 0, at most 100, got {self.plateau_percent:g}"
            )
        if self.agc_s < 0:
            raise ContractError(f"agc_s: expected 0 or more, got {self.agc_s:g}")
        if not all(0 <= share <= 1 for share in self.spot):
            raise ContractError(f"spot: expected [x, y], each from 0 to 1, got {list(self.spot)}")

    def described_sensor(self) -> Sensor:
        """Returns the sensor of that name, with the count's temperature where the rig tells of one."""
        sensor = SENSORS[self.sensor]
        if self.kelvin_per_count is None:
            return sensor
        return replace(sensor, kelvin_per_count=self.kelvin_per_count)

    def longest_repeat_ms(self) -> float:
        """Returns for how long a picture may repeat before the camera counts as frozen."""
        if self.freeze_ms is not None:
            return self.freeze_ms
        rates_hz = SENSORS[self.sensor].rates_hz
        return max(LEAST_FREEZE_MS, FREEZE_PERIODS * 1e3 / min(rates_hz)) if rates_hz else LEAST_FREEZE_MS
