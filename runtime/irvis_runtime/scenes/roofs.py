"""Roofs with tiles or felt, and whole buildings put together."""

from __future__ import annotations

import numpy as np

from .building import Building
from .canvas import Canvas, Paint
from .noise import Floats, Noise, cell_hash, ramp
from .walls import GablePaint, WallPaint
from .weather import Weather


class RoofPaint:
    """Paints a sloped or flat roof; v runs up the slope."""

    def __init__(self, building: Building, weather: Weather, noise: Noise, sun: float) -> None:
        self.building, self.weather, self.noise, self.sun = building, weather, noise, sun

    def __call__(self, u_m: Floats, v_m: Floats, footprint_m: Floats) -> Paint:
        """Rows of tiles, or gravel and felt; under a clear night sky the coldest thing on the ground."""
        b, weather = self.building, self.weather
        stain = self.noise.fractal(u_m, v_m, footprint_m, 5.0, 6, index=b.salt + 1)
        if b.roof_m > 0:
            tiles = np.mod(v_m / 0.32, 1) * np.clip(1.5 - footprint_m / 0.12, 0, 1)
            tone = (
                cell_hash(np.floor(u_m / 0.25).astype(np.int32), np.floor(v_m / 0.32).astype(np.int32), 2)
                - 0.5
            )
            shade = (
                1
                + 0.15 * stain
                + 0.35 * (tiles - 0.5)
                + 0.25 * tone * np.clip(1.5 - footprint_m / 0.12, 0, 1)
            )
            colour = np.array(
                [(0.10, 0.14, 0.28), (0.13, 0.13, 0.13), (0.10, 0.18, 0.36)][b.salt % 3], np.float32
            )
        else:
            seams = ramp(0.03 - np.abs(np.mod(u_m, 2.0) - 1.0), 0.02 + footprint_m)
            shade = 1 + 0.16 * stain - 0.3 * seams
            colour = np.array(
                [(0.30, 0.31, 0.31), (0.12, 0.12, 0.12), (0.45, 0.46, 0.46)][b.salt % 3], np.float32
            )
        absorbed = 1 - float(colour.mean())
        heat_c = (
            weather.sun_heat_c * absorbed * self.sun * 1.1
            - 0.09 * (weather.air_c - weather.sky_c)
            + 0.5 * b.warmth_c
        )
        paint = Paint.plain(u_m, weather.air_c + heat_c, self.sun, 0.9)
        paint.albedo_hw3 = np.asarray(np.clip(shade, 0.2, 2)[..., None] * colour, np.float32)
        paint.temperature_hw += np.asarray(0.4 * stain, np.float32)
        return paint


def draw_building(canvas: Canvas, building: Building, weather: Weather, noise: Noise) -> None:
    """Paints the walls that face the camera, then the roof if it can be seen."""
    b, eye = building, np.array(canvas.view.position_m)
    corners = np.insert(b.footprint_m42, 1, 0.0, axis=1)
    up = np.array([0, b.height_m, 0.0])
    sun = np.array(weather.to_sun)
    for side in range(4):
        start, end = corners[side], corners[(side + 1) % 4]
        outwards = np.array([end[2] - start[2], 0, start[0] - end[0]]) / np.linalg.norm(end - start)
        if float(outwards @ (eye - start)) <= 0:
            continue
        light = float(np.clip(outwards @ sun, 0, 1))
        canvas.plane(start, end - start, up, WallPaint(b, weather, noise, light, side))
        if b.roof_m > 0 and side % 2 == 0:
            gable = np.array([[0, 0], [1, 0], [0.5, 1]])
            rise = np.array([0, b.roof_m, 0.0])
            canvas.plane(start + up, end - start, rise, GablePaint(b, weather, noise, light, side), gable)
    _draw_roof(canvas, b, weather, noise)


def _draw_roof(canvas: Canvas, b: Building, weather: Weather, noise: Noise) -> None:
    eye, sun = np.array(canvas.view.position_m), np.array(weather.to_sun)
    along = np.array([0, 0, b.length_m])
    if b.roof_m == 0:
        if eye[1] > b.height_m:
            start = np.array([b.x_m, b.height_m, b.z_m])
            canvas.plane(
                start, along, np.array([b.width_m, 0, 0.0]), RoofPaint(b, weather, noise, float(sun[1]))
            )
        return
    for sign, x_m in ((1, b.x_m), (-1, b.x_m + b.width_m)):
        overhang = 0.35
        slope = np.array([sign * (b.width_m / 2 + overhang), b.roof_m, 0])
        start = np.array([x_m - sign * overhang, b.height_m, b.z_m - overhang])
        normal = np.array([-sign * b.roof_m, b.width_m / 2, 0]) / np.hypot(b.roof_m, b.width_m / 2)
        if float(normal @ (eye - start)) > 0:
            light = float(np.clip(normal @ sun, 0, 1))
            edge = along + np.array([0, 0, 2 * overhang])
            canvas.plane(start, edge, slope, RoofPaint(b, weather, noise, light))
