"""Walls with windows, doors and shops; warm where heat leaks out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .building import Building
from .canvas import Paint
from .noise import Floats, Noise, cell_hash, ramp
from .weather import Colour, Weather

DOORS: tuple[Colour, ...] = ((0.05, 0.10, 0.20), (0.10, 0.05, 0.05), (0.03, 0.03, 0.10), (0.10, 0.14, 0.06))
SIGNS: tuple[Colour, ...] = (
    (0.1, 0.1, 0.9),
    (0.9, 0.35, 0.1),
    (0.2, 0.8, 0.3),
    (0.15, 0.7, 0.95),
    (0.9, 0.9, 0.9),
)


class WallPaint:
    """Paints one wall; u runs along it, v upwards, both in metres."""

    def __init__(self, building: Building, weather: Weather, noise: Noise, sun: float, side: int) -> None:
        self.building, self.weather, self.noise, self.sun, self.side = building, weather, noise, sun, side

    def __call__(self, u_m: Floats, v_m: Floats, footprint_m: Floats) -> Paint:
        """Wall, then windows, then what the ground floor has."""
        paint = self._wall(u_m, v_m, footprint_m)
        self._windows(paint, u_m, v_m, footprint_m)
        if self.building.has_shops:
            self._shops(paint, u_m, v_m, footprint_m)
        near_ground = np.exp(-v_m / 0.7)
        paint.ambient_hw *= np.asarray(1 - 0.45 * near_ground, np.float32)
        return paint

    def _wall(self, u_m: Floats, v_m: Floats, footprint_m: Floats) -> Paint:
        b, weather = self.building, self.weather
        stain = self.noise.fractal(u_m, v_m, footprint_m, 7.0, 6, index=b.salt)
        streaks = self.noise.fractal(u_m, v_m * 0.08, footprint_m, 1.6, 3, index=b.salt + 2)
        floors = np.mod(v_m, b.floor_m)
        band = ramp(0.22 - floors, 0.05 + footprint_m)
        albedo = np.array(b.wall_bgr, np.float32) * (1 + 0.09 * stain + 0.07 * streaks)[..., None]
        albedo = albedo * (1 + (0.18 if b.salt % 3 else -0.1) * band)[..., None]
        if b.is_brick:
            albedo = albedo * self._bricks(u_m, v_m, footprint_m)[..., None]
        eaves = np.exp(-np.maximum(b.height_m - 0.15 - v_m, 0) / 0.5)
        albedo = albedo * (1 - 0.4 * eaves * (v_m < b.height_m - 0.15))[..., None]
        heat_c = weather.stored_heat_c * 0.6 + b.warmth_c + weather.sun_heat_c * 0.55 * self.sun
        # Slab edges leak heat; the foot of a wall and its eaves are warmer than its middle.
        texture_c = 0.25 * stain + 0.15 * streaks + (0.9 * band + 0.8 * eaves) * (0.4 + 0.6 * self._leak)
        paint = Paint.plain(u_m, weather.air_c + heat_c, self.sun, 0.62)
        paint.albedo_hw3 = np.asarray(np.clip(albedo, 0.01, 0.9), np.float32)
        paint.temperature_hw += np.asarray(texture_c, np.float32)
        return paint

    @property
    def _leak(self) -> float:
        """0 in summer .. 1 when it freezes: how far the inside is warmer than the air."""
        return float(np.clip((21 - self.weather.air_c) / 20, 0, 1))

    def _bricks(self, u_m: Floats, v_m: Floats, footprint_m: Floats) -> Floats:
        fade = np.clip(1.5 - footprint_m / 0.05, 0, 1)
        row = np.floor(v_m / 0.083).astype(np.int32)
        along = u_m / 0.26 + 0.5 * (row % 2)
        tone = cell_hash(np.floor(along).astype(np.int32), row, 5) - 0.5
        joint = (np.mod(v_m / 0.083, 1) < 0.14) | (np.mod(along, 1) < 0.05)
        return np.asarray(1 + fade * (0.5 * tone + 0.5 * joint), np.float32)

    def _windows(self, paint: Paint, u_m: Floats, v_m: Floats, footprint_m: Floats) -> None:
        b = self.building
        i, j = np.floor(u_m / b.bay_m).astype(np.int32), np.floor(v_m / b.floor_m).astype(np.int32)
        half_u, half_v = b.bay_m * b.window_share[0] / 2, b.floor_m * b.window_share[1] / 2
        x = np.asarray((np.mod(u_m, b.bay_m) - b.bay_m / 2) / half_u, np.float32)
        y = np.asarray((np.mod(v_m, b.floor_m) - b.floor_m * 0.53) / half_v, np.float32)
        sharp = np.maximum(footprint_m * 1.2, 0.01)
        edge_m = np.minimum((1 - np.abs(x)) * half_u, (1 - np.abs(y)) * half_v)
        exists = (u_m > 0) & (v_m < b.height_m - 0.4) & (cell_hash(i, j * 0, b.salt + 7) > 0.06)
        exists &= (j > 0) | (not b.has_shops)
        is_door = (j == 0) & (np.mod(i, 7) == b.salt % 5) & (not b.has_shops)
        exists &= ~is_door
        opening = ramp(edge_m + 0.07, sharp) * exists
        pane = ramp(edge_m, sharp) * exists
        across_m = np.abs(x * half_u) if b.salt % 2 else np.abs(y - 0.35) * half_v
        bars = ramp(0.03 - across_m, sharp)
        pane = pane * (1 - 0.8 * bars)
        frame = np.array([0.62, 0.63, 0.62] if b.salt % 4 else [0.12, 0.11, 0.10], np.float32)
        paint.albedo_hw3 += opening[..., None] * (frame * np.float32(0.8) - paint.albedo_hw3)
        self._panes(paint, pane, x, y, i, j)
        sill = ramp(0.05 - np.abs((y + 1) * half_v + 0.1), sharp) * (np.abs(x) < 1.1) * exists
        paint.albedo_hw3 += sill[..., None] * (np.float32(0.45) - paint.albedo_hw3)
        reveal = np.exp(-np.maximum(1 - y, 0) * half_v / 0.12) * pane
        paint.albedo_hw3 *= (1 - 0.6 * reveal)[..., None]
        self._door(paint, v_m, np.abs(x) * half_u, sharp, is_door)
        # A radiator below a window warms the wall outside in winter.
        below = np.exp(-((x * 1.1) ** 4) - ((y + 1.35) * half_v / 0.3) ** 2)
        radiator = 1.8 * below * exists * (cell_hash(i, j, 77) < 0.5)
        paint.temperature_hw += np.asarray((radiator + opening - pane) * self._leak, np.float32)

    def _door(
        self,
        paint: Paint,
        v_m: Floats,
        across_m: NDArray[np.floating],
        sharp: Floats,
        is_door: NDArray[np.bool_],
    ) -> None:
        door = ramp(0.55 - across_m, sharp) * ramp(2.15 - v_m, sharp) * is_door
        wood = np.array(DOORS[self.building.salt % len(DOORS)], np.float32)
        paint.albedo_hw3 += door[..., None] * (wood - paint.albedo_hw3)
        paint.temperature_hw += np.asarray(door * (0.4 + 1.5 * self._leak), np.float32)

    def _panes(
        self, paint: Paint, pane: Floats, x: Floats, y: Floats, i: NDArray[np.int32], j: NDArray[np.int32]
    ) -> None:
        """Glass mirrors the sky, shows curtains or a lit room, and is cold to a thermal camera."""
        b, weather = self.building, self.weather
        dice, tint = cell_hash(i, j, b.salt + self.side * 31), cell_hash(i, j, b.salt + 13)
        curtain = (np.abs(x) > 0.35 + 0.6 * tint) | (y > 1.6 - 1.5 * cell_hash(i, j, 21))
        sky = np.array(weather.zenith_bgr, np.float32) * 0.5 + np.array(weather.horizon_bgr, np.float32) * 0.5
        mirror = (0.10 + 0.25 * tint + (0.25 if b.is_glass else 0.0) + 0.12 * (y + x * 0.3))[..., None] * sky
        inside = np.where(curtain, 0.22 + 0.2 * tint, 0.03 + 0.05 * tint)[..., None] * np.array(
            [0.9, 0.95, 1.0]
        )
        lit = (dice < b.lit_share) & weather.lights_on
        warm = np.stack([0.30 + 0.5 * tint, 0.62 + 0.25 * tint, np.ones_like(tint)], axis=-1)
        room = (
            (0.25 + 0.75 * np.clip(0.6 + 0.5 * y, 0, 1))
            * np.where(curtain, 0.45, 1.0)
            * (0.25 + 0.6 * cell_hash(j, i, 3))
        )
        glow = np.clip(mirror, 0, 1.2) + (lit * room)[..., None] * warm
        cover = pane[..., None]
        paint.albedo_hw3 += cover * (inside.astype(np.float32) - paint.albedo_hw3)
        paint.glow_hw3 += cover * glow.astype(np.float32)
        mirrored_c = weather.air_c + 0.25 * (weather.sky_c - weather.air_c) * (1.1 if b.is_glass else 0.8)
        heated_c = mirrored_c + (4.5 * tint + 2.5 * (dice < 0.08) * 3) * self._leak + 0.8 * y
        paint.temperature_hw += pane * (np.asarray(heated_c, np.float32) - paint.temperature_hw)

    def _shops(self, paint: Paint, u_m: Floats, v_m: Floats, footprint_m: Floats) -> None:
        b, weather = self.building, self.weather
        shop_m = b.bay_m * 2
        i = np.floor(u_m / shop_m).astype(np.int32)
        dice = cell_hash(i, i * 0, b.salt)
        sharp = np.maximum(footprint_m, 0.01)
        across = np.abs(np.mod(u_m, shop_m) - shop_m / 2)
        pane = ramp(shop_m / 2 - 0.3 - across, sharp) * ramp(2.5 - v_m, sharp) * ramp(v_m - 0.45, sharp)
        pane = pane * (1 - 0.7 * ramp(0.04 - np.abs(np.mod(u_m, shop_m / 3) - 0.1), sharp))
        column, shelf = np.floor(u_m / 0.37).astype(np.int32), np.floor((v_m - 0.45) / 0.6).astype(np.int32)
        goods = cell_hash(column, shelf, b.salt + 4) * (
            np.mod(v_m - 0.45, 0.6) < 0.5 * cell_hash(column, shelf, 9)
        )
        ceiling = np.exp(-np.maximum(2.35 - v_m, 0) / 0.5)
        depth = self.noise.fractal(u_m, v_m, footprint_m, 2.5, 3, index=b.salt + 4)
        shade = np.clip(0.55 + 0.7 * ceiling + 0.10 * depth - 0.5 * goods, 0.05, 1.6)
        light = (0.9 if weather.lights_on else 0.12) * np.where(dice < 0.75, 1.0, 0.05)
        colour = np.stack([0.55 + 0.4 * dice, np.full_like(dice, 0.8), np.ones_like(dice)], axis=-1)
        paint.albedo_hw3 += pane[..., None] * (np.float32(0.06) - paint.albedo_hw3)
        sign = ramp(0.32 - np.abs(v_m - 2.95), sharp) * ramp(shop_m / 2 - 0.25 - across, sharp) * (dice > 0.2)
        palette = np.array(SIGNS, np.float32)[(dice * 997).astype(np.int32) % len(SIGNS)]
        strokes = self._strokes(u_m, v_m, footprint_m)
        face = palette * 0.35 + strokes[..., None] * (1 - palette * 0.35)
        paint.albedo_hw3 += sign[..., None] * (face * np.float32(0.6) - paint.albedo_hw3)
        paint.glow_hw3 += np.asarray((pane * shade * light)[..., None] * colour, np.float32)
        paint.glow_hw3 += sign[..., None] * face * np.float32(1.1 if weather.lights_on else 0.05)
        warm_c = np.float32(2 + 2.5 * self._leak)
        paint.temperature_hw += pane * (warm_c * (dice - 0.3) + 0.4 * goods) + sign * np.float32(
            1.5 if weather.lights_on else 0.2
        )

    def _strokes(self, u_m: Floats, v_m: Floats, footprint_m: Floats) -> Floats:
        """Something like lettering on a sign: cells of strokes, not readable."""
        i, j = np.floor(u_m / 0.09).astype(np.int32), np.floor((v_m - 2.77) / 0.09).astype(np.int32)
        letter = np.mod(u_m, 0.45) < 0.36
        ink = (cell_hash(i, j, self.building.salt + 5) < 0.55) & letter & (j >= 0) & (j < 4)
        return np.asarray(ink * np.clip(1.6 - footprint_m / 0.12, 0.25, 1), np.float32)


class GablePaint(WallPaint):
    """Paints the triangle below a gabled roof: wall without windows."""

    def __call__(self, u_m: Floats, v_m: Floats, footprint_m: Floats) -> Paint:
        """The wall's own paint, moved up a little: the lowest row would be a band."""
        return self._wall(u_m, v_m + np.float32(0.3), footprint_m)
