"""The ground of a street: asphalt with its markings, kerbs, pavements, and what grows beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .canvas import Paint, PaintSurface, blocks
from .noise import Floats, Noise, cell_hash, ramp
from .weather import Colour, Weather

ASPHALT, PAVING, GRASS, SOIL = 0.085, 0.30, (0.035, 0.115, 0.07), (0.10, 0.15, 0.22)


@dataclass(frozen=True)
class Street:
    """The cross-section of a straight or gently bent street along z, centred on x = bend * z**2."""

    lanes: int
    """Both directions together."""
    lane_m: float
    pavement_m: float
    """Width of each pavement; 0 for a gravel shoulder."""
    bend_per_m: float
    crossing_m: float
    """Distance z of a zebra crossing; negative for none."""
    verge: str
    """What lies beside the pavement: "paved", "grass" or "field"."""
    verge_bgr: Colour
    salt: int

    @property
    def half_m(self) -> float:
        """Half the width of the carriageway."""
        return self.lanes * self.lane_m / 2

    def centre_m(self, z_m: float) -> float:
        """The x of the middle of the road at z."""
        return self.bend_per_m * z_m * z_m


class StreetPaint:
    """Paints the ground of a street; called with the world's x and z of each pixel."""

    def __init__(self, street: Street, weather: Weather, noise: Noise) -> None:
        self.street, self.weather, self.noise = street, weather, noise

    def __call__(self, x_m: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        """Albedo, temperature and wetness at the points of the ground."""
        street = self.street
        across = np.asarray(x_m - np.float32(street.bend_per_m) * z_m * z_m, np.float32)
        beside = np.abs(across) - np.float32(street.half_m)
        sharp = np.maximum(footprint_m * 0.6, 0.006)
        paint, points = self._plain(x_m, 0.0, 0.0), (across, z_m, footprint_m)
        everywhere, road = np.ones_like(across), ramp(-beside, sharp)
        if street.pavement_m > 0:
            pavement = ramp(street.pavement_m - beside, sharp)
            _lay(paint, points, everywhere * (pavement < 1), self._verge)
            _lay(paint, points, pavement * (road < 1), self._pavement)
            _lay(paint, points, ramp(beside, sharp) * ramp(0.16 - beside, sharp), self._kerb)
        else:
            _lay(paint, points, everywhere * (road < 1), self._verge)
            _lay(paint, points, ramp(0.9 - beside, 0.25 + sharp) * (road < 1), self._gravel)
        _lay(paint, points, road, self._asphalt)
        gutter = np.exp(-((beside + 0.15) ** 2) / 0.03)
        paint.albedo_hw3 *= (1 - 0.35 * gutter)[..., None]
        paint.temperature_hw += np.float32(0.5) * gutter
        return paint

    def _plain(self, like: Floats, albedo: float, over_air_c: float) -> Paint:
        paint = Paint.plain(like, self.weather.air_c + over_air_c, self.weather.to_sun[1], 1.0)
        paint.albedo_hw3 += np.float32(albedo)
        return paint

    def _kerb(self, across: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        return self._plain(across, 0.40, self.weather.stored_heat_c * 0.5)

    def _asphalt(self, across: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        street, weather, noise = self.street, self.weather, self.noise
        coarse = noise.fractal(across, z_m * 0.35, footprint_m, 9.0, 4, index=1)
        grain = noise.fractal(across, z_m, footprint_m, 0.12, 3, gain=1.0, index=5)
        lane = np.mod(across / street.lane_m + street.lanes / 2, 1) - 0.5
        tracks = np.exp(-((np.abs(lane) - 0.25) ** 2) / 0.012)
        oil = np.exp(-(lane**2) / 0.01)
        albedo = ASPHALT * (1 + 0.11 * coarse + 0.17 * grain + 0.10 * tracks - 0.22 * oil)
        patch, seam = self._repairs(across, z_m, footprint_m)
        albedo = albedo * (1 - 0.2 * patch) * (1 - 0.55 * seam)
        paint = self._plain(across, 0.0, 0.0)
        paint.albedo_hw3 = np.asarray(albedo[..., None] * np.array([0.98, 1.0, 1.03]), np.float32)
        heat_c = weather.stored_heat_c + weather.sun_heat_c * weather.to_sun[1] * 0.8
        texture_c = 0.35 * coarse + 0.12 * grain + 0.55 * tracks + 0.5 * patch - 0.3 * seam
        paint.temperature_hw += np.float32(heat_c) + np.asarray(texture_c, np.float32)
        puddle = ramp(coarse - np.float32(1.35 - 1.5 * weather.wetness), 0.35)
        paint.wet_hw = np.asarray(weather.wetness * (0.45 + 0.55 * puddle), np.float32)
        self._mark(paint, across, z_m, footprint_m)
        return paint

    def _repairs(self, across: Floats, z_m: Floats, footprint_m: Floats) -> tuple[Floats, Floats]:
        """Rectangular patches of newer asphalt, and the dark tar along cracks."""
        i, j = np.floor(across / 3.5).astype(np.int32), np.floor(z_m / 9.0).astype(np.int32)
        chosen = cell_hash(i, j, self.street.salt) < 0.10
        u, v = np.mod(across, 3.5) / 3.5, np.mod(z_m, 9.0) / 9.0
        width, length = 0.2 + 0.4 * cell_hash(i, j, 3), 0.1 + 0.4 * cell_hash(i, j, 4)
        patch = chosen * ramp(width / 2 - np.abs(u - 0.5), 0.01) * ramp(length / 2 - np.abs(v - 0.5), 0.01)
        ridge = np.abs(self.noise.fractal(across, z_m, footprint_m, 5.0, 3, gain=0.5, index=9))
        where = ramp(self.noise.octave(across, z_m, 14.0, 11) - 0.4, 0.3)
        return np.asarray(patch, np.float32), np.asarray(where * ramp(0.035 - ridge, 0.02), np.float32)

    def _mark(self, paint: Paint, across: Floats, z_m: Floats, footprint_m: Floats) -> None:
        """Paints lines, the crossing and its stop line over the asphalt; paint is cooler, and worn."""
        street = self.street
        sharp = np.maximum(footprint_m * 0.5, 0.004)
        line = np.zeros_like(across)
        for k in range(street.lanes + 1):
            offset = across - np.float32((k - street.lanes / 2) * street.lane_m)
            solid = k in (0, street.lanes) or (street.lanes > 2 and 2 * k == street.lanes)
            inset = 0.25 * np.sign(street.lanes / 2 - k) if k in (0, street.lanes) else 0.0
            dash = 1.0 if solid else ramp(1.5 - np.abs(np.mod(z_m, 9.0) - 4.5), sharp * 4)
            line = np.maximum(line, ramp(0.065 - np.abs(offset - np.float32(inset)), sharp) * dash)
        if street.crossing_m > 0:
            along = z_m - np.float32(street.crossing_m)
            on_crossing = ramp(1.7 - np.abs(along), sharp * 3)
            bars = ramp(0.24 - np.abs(np.mod(across, 0.95) - 0.47), sharp) * ramp(
                street.half_m - 0.3 - np.abs(across), sharp
            )
            stop = ramp(0.2 - np.abs(along + 3.2), sharp * 2) * ramp(across, sharp)
            line = np.maximum(np.maximum(line * (1 - on_crossing), on_crossing * bars), stop)
        wear = 0.72 + 0.2 * self.noise.fractal(across, z_m, footprint_m, 0.9, 4, gain=0.9, index=2)
        cover = np.asarray(line * np.clip(wear, 0.15, 0.95), np.float32)
        paint.albedo_hw3 += cover[..., None] * (0.62 - paint.albedo_hw3)
        paint.temperature_hw -= cover * np.float32(
            0.5 + 0.2 * self.weather.sun_heat_c * self.weather.to_sun[1]
        )

    def _pavement(self, across: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        noise, weather = self.noise, self.weather
        slab = 0.5 if self.street.salt % 2 else 0.9
        i, j = np.floor(across / slab).astype(np.int32), np.floor(z_m / slab).astype(np.int32)
        u, v = np.abs(np.mod(across / slab, 1) - 0.5), np.abs(np.mod(z_m / slab, 1) - 0.5)
        fade = np.clip(1.4 - footprint_m / slab * 2.5, 0, 1)
        joint = ramp(np.maximum(u, v) - (0.5 - 0.012 / slab), 0.02 + footprint_m / slab) * fade
        tone = (cell_hash(i, j, 8) - 0.5) * fade
        stain = noise.fractal(across, z_m, footprint_m, 4.0, 6, gain=0.8, index=3)
        albedo = PAVING * (1 + 0.22 * tone + 0.13 * stain) * (1 - 0.45 * joint)
        heat_c = weather.stored_heat_c * 0.7 + weather.sun_heat_c * weather.to_sun[1] * 0.55
        paint = self._plain(across, 0.0, heat_c)
        paint.albedo_hw3 = np.asarray(albedo[..., None] * np.array([0.92, 0.98, 1.0]), np.float32)
        paint.temperature_hw += np.asarray(0.3 * stain + 0.35 * joint + 0.2 * tone, np.float32)
        paint.wet_hw = np.full_like(across, 0.25 * weather.wetness)
        return paint

    def _gravel(self, across: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        stones = self.noise.fractal(across, z_m, footprint_m, 0.6, 5, gain=1.0, index=6)
        paint = self._plain(across, 0.0, self.weather.stored_heat_c * 0.6 + self.weather.sun_heat_c * 0.5)
        paint.albedo_hw3 = np.asarray(
            (0.17 * (1 + 0.3 * stones))[..., None] * np.array([0.75, 0.9, 1.0]), np.float32
        )
        paint.temperature_hw += np.asarray(0.4 * stones, np.float32)
        return paint

    def _verge(self, across: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        if self.street.verge == "paved":
            return self._pavement(across, z_m, footprint_m)
        return grass(across, z_m, footprint_m, self.noise, self.weather, self.street.verge_bgr)


def grass(
    x_m: Floats, z_m: Floats, footprint_m: Floats, noise: Noise, weather: Weather, colour_bgr: Colour
) -> Paint:
    """Grass of one colour: patches, tufts and blades; about as warm as the air."""
    patches = noise.fractal(x_m, z_m, footprint_m, 16.0, 4, index=4)
    blades = noise.fractal(x_m, z_m, footprint_m, 0.8, 6, gain=0.95, index=7)
    dry = ramp(patches - 0.5, 1.2)
    bare = ramp(patches + 0.4 * blades - 1.9, 0.3)
    colour = np.array(colour_bgr, np.float32) * (1 - 0.6 * dry[..., None]) + 0.6 * dry[..., None] * np.array(
        [0.06, 0.16, 0.17]
    )
    colour = colour * (1 - bare[..., None]) + bare[..., None] * np.array(SOIL)
    shade = np.clip(1 + 0.18 * patches + 0.38 * blades, 0.12, 2.2)
    over_air_c = 0.22 * weather.sun_heat_c * weather.to_sun[1] - 0.06 * (weather.air_c - weather.sky_c)
    texture_c = 0.5 * patches - 0.45 * blades + 1.4 * dry + 1.5 * bare
    paint = Paint.plain(x_m, weather.air_c + over_air_c, weather.to_sun[1], 1.0)
    paint.albedo_hw3 = np.asarray(colour * shade[..., None], np.float32)
    paint.temperature_hw += np.asarray(texture_c, np.float32)
    return paint


def _lay(
    paint: Paint, points: tuple[Floats, Floats, Floats], cover_hw: Floats, surface: PaintSurface
) -> None:
    """Lays a surface on `paint` where `cover_hw` (0..1) is not zero; it is asked for no other points."""
    where = np.flatnonzero(cover_hw)
    if len(where) == 0:
        return
    index = blocks(where)
    across, z_m, footprint_m = (np.ascontiguousarray(values.ravel()[index]) for values in points)
    over, cover = surface(across, z_m, footprint_m), cover_hw.ravel()[index]
    for name in ("albedo_hw3", "temperature_hw", "sun_hw", "wet_hw"):
        below, above = getattr(paint, name), getattr(over, name)
        flat = below.reshape(-1, *below.shape[2:])
        share = cover[..., None] if below.ndim == 3 else cover
        flat[index] += share * (above - flat[index])
