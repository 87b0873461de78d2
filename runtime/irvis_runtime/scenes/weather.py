"""Light and air of a scene: what they make of materials in either band."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .noise import Floats
from .scene import Kind

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Lamp:
    """A street lamp: shines downwards from `position_m`."""

    position_m: tuple[float, float, float]
    power_bgr: Colour
    """Radiance on a white ground one metre below."""


@dataclass(frozen=True)
class Weather:
    """One light and one air for all; colours are linear radiance, blue first; temperatures in deg C."""

    kind: Kind
    to_sun: tuple[float, float, float]
    """Unit vector towards the sun, or towards the brightest part of the sky."""
    sun_bgr: Colour
    ambient_bgr: Colour
    """What a white surface sends back under the open sky without the sun."""
    horizon_bgr: Colour
    zenith_bgr: Colour
    cloudiness: float
    """0 clear .. 1 covered."""
    exposure: float
    grain: float
    """Deviation of the visible camera's noise at mid grey, in grey levels."""
    haze_per_m: float
    """Extinction in the visible band."""
    haze_infrared_per_m: float
    wetness: float
    """0 dry .. 1 mirrors the sky."""
    lights_on: bool
    air_c: float
    sun_heat_c: float
    """How much warmer than the air the sun makes a dark surface that faces it."""
    stored_heat_c: float
    """How much warmer than the air stone and asphalt are without the sun."""
    sky_c: float
    """Apparent temperature of the zenith."""
    lamps: tuple[Lamp, ...] = field(default=())

    def sky_light_bgr(self, sun: Floats, ambient: Floats) -> Floats:
        """Irradiance (..., 3) where the shares `sun` and `ambient` (...) of the sky's lights arrive."""
        light = sun[..., None] * np.array(self.sun_bgr, np.float32)
        return np.asarray(light + ambient[..., None] * np.array(self.ambient_bgr, np.float32), np.float32)

    def lamp_light_bgr(self, points_3: Floats) -> Floats:
        """Irradiance (..., 3) of the street lamps at world points (..., 3)."""
        light = np.zeros_like(points_3)
        for lamp in self.lamps:
            x, y, z = (points_3[..., k] - np.float32(lamp.position_m[k]) for k in range(3))
            square_m2 = x * x + y * y + z * z + np.float32(0.5)
            below = np.maximum(-y, 0)
            light += (below * below / (square_m2 * square_m2))[..., None] * np.array(
                lamp.power_bgr, np.float32
            )
        return light

    def through_air(self, radiance: Floats, depth_m: Floats) -> Floats:
        """Radiance (..., 3) after `depth_m` (...) of haze, whose own light is the horizon's."""
        clear = np.exp(-np.float32(self.haze_per_m) * depth_m)[..., None]
        return np.asarray(radiance * clear + (1 - clear) * np.array(self.horizon_bgr, np.float32), np.float32)

    def heat_through_air(self, temperature_c: Floats, depth_m: Floats) -> Floats:
        """Apparent temperature (...) after `depth_m` of haze, which thermal light passes more easily."""
        clear = np.exp(-np.float32(self.haze_infrared_per_m) * depth_m)
        return np.asarray(temperature_c * clear + (1 - clear) * np.float32(self.air_c), np.float32)

    def developed(self, radiance: Floats) -> Floats:
        """Grey levels 0..255 as float32: a film-like shoulder, then the display's gamma."""
        exposed = np.maximum(radiance, 0) * np.float32(self.exposure)
        grey = (1 - np.exp(-exposed)) ** np.float32(1 / 2.2)
        steep = grey * grey * (3 - 2 * grey)
        return np.asarray(255 * (0.45 * grey + 0.55 * steep), np.float32)

    def sky_temperature_c(self, elevation_sin: Floats, cloud: Floats) -> Floats:
        """Apparent temperature of the sky: air at the horizon, cold above, clouds between the two."""
        clear_c = self.air_c + (self.sky_c - self.air_c) * np.clip(elevation_sin * 1.6, 0, 1) ** 0.45
        return np.asarray(clear_c + (self.air_c - 6 - clear_c) * 0.6 * cloud, np.float32)


def random_weather(kind: Kind, rng: np.random.Generator) -> Weather:
    """A weather of this kind; the lamps are added by whoever places them."""
    azimuth, turn = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.25)
    maker = {"day": _day, "overcast": _overcast, "dusk": _dusk, "night": _night, "fog": _fog}[kind]
    return maker(rng, float(azimuth), float(turn))


def _towards(azimuth_rad: float, elevation_rad: float) -> tuple[float, float, float]:
    flat = float(np.cos(elevation_rad))
    return flat * float(np.sin(azimuth_rad)), float(np.sin(elevation_rad)), flat * float(np.cos(azimuth_rad))


def _scaled(colour: Colour, factor: float) -> Colour:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _day(rng: np.random.Generator, azimuth: float, turn: float) -> Weather:
    air_c = float(rng.uniform(2, 26))
    return Weather(
        kind="day",
        to_sun=_towards(azimuth, float(rng.uniform(0.45, 1.05))),
        sun_bgr=_scaled((0.80, 0.93, 1.0), 2.3 * turn),
        ambient_bgr=_scaled((1.0, 0.87, 0.74), 0.75),
        horizon_bgr=(1.15, 1.08, 1.0),
        zenith_bgr=_scaled((0.95, 0.55, 0.30), 0.9),
        cloudiness=float(rng.uniform(0.1, 0.7)),
        exposure=float(rng.uniform(0.75, 1.3)),
        grain=float(rng.uniform(1.0, 2.0)),
        haze_per_m=float(rng.uniform(0.0004, 0.002)),
        haze_infrared_per_m=0.0003,
        wetness=0.0,
        lights_on=False,
        air_c=air_c,
        sun_heat_c=float(rng.uniform(5, 14)),
        stored_heat_c=float(rng.uniform(1, 4)),
        sky_c=air_c - float(rng.uniform(25, 50)),
    )


def _overcast(rng: np.random.Generator, azimuth: float, turn: float) -> Weather:
    air_c, wet = float(rng.uniform(-2, 22)), bool(rng.random() < 0.5)
    grey = float(rng.uniform(0.75, 1.1))
    return Weather(
        kind="overcast",
        to_sun=_towards(azimuth, 1.2),
        sun_bgr=_scaled((1.0, 0.98, 0.95), 0.12),
        ambient_bgr=_scaled((1.02, 1.0, 0.96), 1.15 * turn),
        horizon_bgr=_scaled((1.05, 1.02, 0.98), grey),
        zenith_bgr=_scaled((1.0, 0.95, 0.90), 0.75 * grey),
        cloudiness=1.0,
        exposure=float(rng.uniform(0.7, 1.1)),
        grain=float(rng.uniform(1.2, 2.5)),
        haze_per_m=float(rng.uniform(0.001, 0.004)),
        haze_infrared_per_m=0.0005,
        wetness=float(rng.uniform(0.4, 0.9)) if wet else 0.0,
        lights_on=wet,
        air_c=air_c,
        sun_heat_c=1.5,
        stored_heat_c=float(rng.uniform(0.8, 3)),
        sky_c=air_c - float(rng.uniform(6, 16)),
    )


def _dusk(rng: np.random.Generator, azimuth: float, turn: float) -> Weather:
    air_c = float(rng.uniform(0, 26))
    glow = float(rng.uniform(0.5, 1.1))
    return Weather(
        kind="dusk",
        to_sun=_towards(azimuth, 0.15),
        sun_bgr=_scaled((0.35, 0.6, 1.0), 0.25 * turn),
        ambient_bgr=_scaled((1.0, 0.72, 0.62), 0.20),
        horizon_bgr=_scaled((0.42, 0.55, 0.95), 0.55 * glow),
        zenith_bgr=_scaled((0.55, 0.33, 0.24), 0.40),
        cloudiness=float(rng.uniform(0.3, 0.8)),
        exposure=float(rng.uniform(1.0, 1.7)),
        grain=float(rng.uniform(2.0, 4.0)),
        haze_per_m=float(rng.uniform(0.001, 0.003)),
        haze_infrared_per_m=0.0004,
        wetness=float(rng.uniform(0.3, 0.8)) if rng.random() < 0.35 else 0.0,
        lights_on=True,
        air_c=air_c,
        sun_heat_c=2.0,
        stored_heat_c=float(rng.uniform(3, 7)),
        sky_c=air_c - float(rng.uniform(20, 40)),
    )


def _night(rng: np.random.Generator, azimuth: float, turn: float) -> Weather:
    air_c, moon = float(rng.uniform(-6, 20)), float(rng.uniform(0.005, 0.032))
    return Weather(
        kind="night",
        to_sun=_towards(azimuth, 0.9),
        sun_bgr=_scaled((1.0, 0.9, 0.8), 0.4 * moon),
        ambient_bgr=_scaled((1.0, 0.80, 0.62), moon),
        horizon_bgr=_scaled((0.75, 0.85, 1.0), moon * 1.6),
        zenith_bgr=_scaled((1.0, 0.65, 0.45), moon * 0.5),
        cloudiness=float(rng.uniform(0.1, 0.9)),
        exposure=float(rng.uniform(0.9, 2.0)) * turn,
        grain=float(rng.uniform(3.0, 7.0)),
        haze_per_m=float(rng.uniform(0.001, 0.005)),
        haze_infrared_per_m=0.0004,
        wetness=float(rng.uniform(0.4, 1.0)) if rng.random() < 0.4 else 0.0,
        lights_on=True,
        air_c=air_c,
        sun_heat_c=0.0,
        stored_heat_c=float(rng.uniform(2, 6)),
        sky_c=air_c - float(rng.uniform(18, 40)),
    )


def _fog(rng: np.random.Generator, azimuth: float, turn: float) -> Weather:
    air_c, grey = float(rng.uniform(-2, 14)), float(rng.uniform(0.35, 0.95))
    haze_per_m = float(rng.uniform(0.012, 0.045))
    return Weather(
        kind="fog",
        to_sun=_towards(azimuth, 1.2),
        sun_bgr=_scaled((1.0, 1.0, 1.0), 0.05),
        ambient_bgr=_scaled((1.0, 1.0, 1.0), 0.9 * grey * turn),
        horizon_bgr=_scaled((1.0, 0.99, 0.97), grey),
        zenith_bgr=_scaled((1.0, 0.99, 0.97), 1.05 * grey),
        cloudiness=1.0,
        exposure=float(rng.uniform(0.7, 1.0)),
        grain=float(rng.uniform(1.5, 3.0)),
        haze_per_m=haze_per_m,
        haze_infrared_per_m=haze_per_m * float(rng.uniform(0.06, 0.2)),
        wetness=0.35,
        lights_on=True,
        air_c=air_c,
        sun_heat_c=0.8,
        stored_heat_c=float(rng.uniform(1, 3)),
        sky_c=air_c - float(rng.uniform(3, 9)),
    )
