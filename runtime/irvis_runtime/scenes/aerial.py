"""Places as a drone sees them: a suburb, a town, fields with a road, a solar park."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from . import props
from .canvas import Paint
from .ground import Street, StreetPaint, grass
from .layout import Layout
from .noise import Floats, Noise, cell_hash
from .roadside import add_people, add_traffic, line_street, random_street
from .scene import Scene
from .weather import Weather
from .world import Slab, World

_MARGIN_SHARE = 0.25
_DRIFT_PX_S = 22.0
_MODULE_M = (1.05, 1.7)
_CROPS = ((0.03, 0.11, 0.06), (0.05, 0.16, 0.10), (0.10, 0.27, 0.33), (0.09, 0.15, 0.21), (0.04, 0.19, 0.17))


def aerial_world(scene: Scene) -> World:
    """The place of this scene's seed, from 35 to 90 metres above the ground."""
    layout = Layout(scene)
    rng = layout.rng
    layout.weather = _from_above(layout.weather)
    setting = str(rng.choice(["suburb", "town", "fields", "solar"], p=[0.3, 0.2, 0.25, 0.25]))
    _look(layout, setting)
    if setting == "solar":
        return _solar_world(layout)
    street = random_street("country" if setting == "fields" else setting, rng)
    street = replace(
        street, verge="grass", crossing_m=street.crossing_m + 40 if street.crossing_m > 0 else -1.0
    )
    line_street(layout, street, "country" if setting == "fields" else setting, near_m=-60.0)
    if setting == "town":
        layout.buildings = [
            replace(b, height_m=min(b.height_m, 4 * b.floor_m + 0.9)) for b in layout.buildings
        ]
        _add_roof_plant(layout)
        _add_courtyards(layout, street)
    add_traffic(layout, street, (3, 4, 5), near_m=-70.0, keep_free_m=1e9)
    add_people(layout, street, along=14, across=4, reach_m=150.0)
    paint = FieldsPaint if setting == "fields" else StreetPaint
    return layout.world(paint(street, layout.weather, layout.noise), [], _DRIFT_PX_S)


def _from_above(weather: Weather) -> Weather:
    """The weather as a drone meets it: less haze below, and nights in which the ground can be seen."""
    ambient = np.array(weather.ambient_bgr) * (3.5 if weather.kind == "night" else 1.0)
    airlight = 0.6 * ambient + 0.3 * np.array(weather.horizon_bgr)
    return replace(
        weather,
        ambient_bgr=(float(ambient[0]), float(ambient[1]), float(ambient[2])),
        horizon_bgr=(float(airlight[0]), float(airlight[1]), float(airlight[2])),
        exposure=weather.exposure * (1.5 if weather.kind == "night" else 1.0),
        haze_per_m=weather.haze_per_m * 0.35,
        haze_infrared_per_m=weather.haze_infrared_per_m * 0.35,
    )


def _look(layout: Layout, setting: str) -> None:
    """A drone that looks obliquely down at a point some way along z."""
    rng = layout.rng
    height_m = float(rng.uniform(22, 45) if setting == "solar" else rng.uniform(38, 90))
    pitch, yaw = float(rng.uniform(0.72, 1.25)), float(rng.uniform(-0.7, 0.7))
    away_m, ahead_m = height_m / np.tan(pitch), 45.0
    x_m = float(rng.uniform(-8, 8)) - away_m * np.sin(yaw)
    layout.look(
        (x_m, height_m, ahead_m - away_m * np.cos(yaw)),
        pitch,
        yaw,
        float(rng.uniform(1.0, 1.3)),
        _MARGIN_SHARE,
    )


def _add_roof_plant(layout: Layout) -> None:
    """Air-conditioning units and skylights on flat roofs; the fans are warm."""
    rng = layout.rng
    for b in layout.buildings:
        for _ in range(int(rng.integers(1, 5))):
            place = [
                b.x_m + b.width_m * rng.uniform(0.15, 0.85),
                b.height_m,
                b.z_m + b.length_m * rng.uniform(0.15, 0.85),
            ]
            size = rng.uniform([0.8, 0.5, 0.8], [3.0, 1.6, 3.0])
            warm_c = float(rng.choice([1.0, 9.0, 16.0]))
            layout.things.append(props.box(np.array(place), size, (0.35, 0.35, 0.34), warm_c, layout.weather))


def _add_courtyards(layout: Layout, street: Street) -> None:
    """Trees and sheds behind the blocks."""
    rng = layout.rng
    for _ in range(60):
        side, z_m = int(rng.choice([-1, 1])), float(rng.uniform(-40, 160))
        x_m = side * (street.half_m + street.pavement_m + float(rng.uniform(22, 60)))
        if rng.random() < 0.65:
            layout.add_tree(x_m, z_m, float(rng.uniform(4, 10)))
        else:
            size = rng.uniform([3, 2.2, 3], [7, 3.2, 9])
            layout.things.append(
                props.box(np.array([x_m, 0, z_m]), size, (0.22, 0.24, 0.26), 0.0, layout.weather)
            )


class FieldsPaint(StreetPaint):
    """A country road through fields of different crops."""

    def _verge(self, across: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        """Strips of land with one crop each, in rows, with the tracks of tractors; hedgerow grass between."""
        noise, weather = self.noise, self.weather
        wander = 2.5 * noise.octave(across, z_m, 70.0, 3)
        u, v = (across + wander) / 62.0, (z_m - 0.8 * wander) / 88.0
        i, j = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
        crop = (cell_hash(i, j, self.street.salt) * len(_CROPS)).astype(np.int32)
        along_z = cell_hash(i, j, self.street.salt + 1) < 0.5
        row = np.where(along_z, across + wander, z_m - wander)
        spacing = np.where(crop % 2 == 0, 0.75, 1.5)
        fade = np.clip(1.6 - footprint_m / (0.35 * spacing), 0, 1)
        furrow = np.cos(2 * np.pi * row / spacing) * fade
        track = np.exp(-((np.abs(np.mod(row, 18.0) - 9.0) - 0.9) ** 2) / 0.06)
        growth = noise.fractal(across, z_m, footprint_m, 35.0, 8, gain=0.75, index=4)
        edge = np.minimum(
            np.minimum(np.mod(u, 1), 1 - np.mod(u, 1)) * 62, np.minimum(np.mod(v, 1), 1 - np.mod(v, 1)) * 88
        )
        shade = np.clip(1 + 0.20 * growth + 0.22 * furrow, 0.2, 2) * (1 - 0.35 * track)
        paint = grass(across, z_m, footprint_m, noise, weather, self.street.verge_bgr)
        inside = np.clip((edge - 1.3) / 0.6, 0, 1)
        colour = np.array(_CROPS, np.float32)[crop] * shade[..., None]
        bare = (crop == 3).astype(np.float32)
        heat_c = (
            weather.sun_heat_c * weather.to_sun[1] * (0.2 + 0.35 * bare) + 0.5 * weather.stored_heat_c * bare
        )
        heat_c = (
            heat_c
            - 0.05 * (weather.air_c - weather.sky_c) * (1 - bare)
            - 0.7 * growth
            - 0.5 * furrow
            + 0.9 * track
        )
        paint.albedo_hw3 += inside[..., None] * (colour - paint.albedo_hw3)
        paint.temperature_hw += inside * (
            np.asarray(weather.air_c + heat_c, np.float32) - paint.temperature_hw
        )
        return paint


class YardPaint:
    """Mown grass with gravel tracks between rows of panels."""

    def __init__(self, weather: Weather, noise: Noise, track_x_m: float) -> None:
        self.weather, self.noise, self.track_x_m = weather, noise, track_x_m

    def __call__(self, x_m: Floats, z_m: Floats, footprint_m: Floats) -> Paint:
        """Grass, worn along the lanes, and one gravel track along z."""
        paint = grass(x_m, z_m, footprint_m, self.noise, self.weather, (0.04, 0.125, 0.085))
        stones = self.noise.fractal(x_m, z_m, footprint_m, 0.8, 5, gain=1.0, index=6)
        ragged = 0.35 * self.noise.fractal(x_m, z_m, footprint_m, 6.0, 5, index=2)
        track = np.clip((1.9 + ragged - np.abs(x_m - self.track_x_m)) / 0.5, 0, 1)
        gravel = np.clip(1 + 0.25 * stones, 0.3, 2)[..., None] * np.array([0.19, 0.23, 0.25])
        weather = self.weather
        warm_c = weather.air_c + 0.6 * weather.stored_heat_c + 0.5 * weather.sun_heat_c * weather.to_sun[1]
        paint.albedo_hw3 += track[..., None] * (gravel.astype(np.float32) - paint.albedo_hw3)
        paint.temperature_hw += track * np.asarray(warm_c + 0.4 * stones - paint.temperature_hw, np.float32)
        return paint


class PanelPaint:
    """A table of solar modules: cells behind glass in aluminium frames; faulty ones are hot in the sun."""

    def __init__(self, weather: Weather, salt: int, sun: float) -> None:
        self.weather, self.salt, self.sun = weather, salt, sun

    def __call__(self, u_m: Floats, v_m: Floats, footprint_m: Floats) -> Paint:
        """Frames, cells, their bars; u runs along the table."""
        weather = self.weather
        wide, tall = _MODULE_M
        i, j = np.floor(u_m / wide).astype(np.int32), np.floor(v_m / tall).astype(np.int32)
        x, y = np.mod(u_m, wide), np.mod(v_m, tall)
        edge = np.minimum(np.minimum(x, wide - x), np.minimum(y, tall - y))
        frame = np.clip((0.03 - edge) / np.maximum(footprint_m, 0.01) + 0.5, 0, 1)
        cell_x, cell_y = np.mod(x / wide * 6, 1), np.mod(y / tall * 10, 1)
        gap = np.maximum(np.abs(cell_x - 0.5), np.abs(cell_y - 0.5)) > 0.46
        fade = np.clip(1.5 - footprint_m / 0.08, 0, 1)
        tone = cell_hash(i, j, self.salt)
        paint = Paint.plain(u_m, weather.air_c, self.sun, 0.9)
        cells = np.array([0.075, 0.035, 0.020]) * (0.8 + 0.4 * tone + 0.8 * gap * fade)[..., None]
        paint.albedo_hw3 = np.asarray(
            cells + frame[..., None] * (np.array([0.42, 0.43, 0.43]) - cells), np.float32
        )
        sky = np.array(weather.zenith_bgr) * 0.6 + np.array(weather.horizon_bgr) * 0.4
        paint.glow_hw3 = np.asarray(
            (0.06 + 0.02 * tone)[..., None] * sky * (1 - frame[..., None]), np.float32
        )
        paint.temperature_hw += np.asarray(
            self._over_air_c(i, j, np.asarray(x / wide), np.asarray(y / tall), tone) - 1.2 * frame, np.float32
        )
        return paint

    def _over_air_c(
        self,
        i: NDArray[np.int32],
        j: NDArray[np.int32],
        x: NDArray[np.floating],
        y: NDArray[np.floating],
        tone: Floats,
    ) -> NDArray[np.floating]:
        """Sun-warmed glass, hot cells, hot thirds of a module, junction boxes; cold at night."""
        weather = self.weather
        load = weather.sun_heat_c * self.sun
        warm_c = 0.95 * load * (1 - 0.12 * (np.abs(x - 0.5) + np.abs(y - 0.5))) + 0.8 * tone
        warm_c = warm_c - 0.10 * (weather.air_c - weather.sky_c)
        fault = cell_hash(i, j, self.salt + 5)
        third = (fault > 0.985) & (np.floor(x * 3) == np.floor(tone * 3))
        cell = (
            (fault < 0.02)
            & (np.floor(x * 6) == np.floor(tone * 6))
            & (np.floor(y * 10) == np.floor(fault * 499))
        )
        box = np.exp(-(((x - 0.5) / 0.07) ** 2 + ((y - 0.88) / 0.04) ** 2))
        return np.asarray(warm_c + load * (0.45 * third + 1.4 * cell + 0.12 * box))


def _solar_world(layout: Layout) -> World:
    """Rows of tables that face the camera, a gravel track with a vehicle, people at work, a hut."""
    rng, weather = layout.rng, layout.weather
    tilt, pitch_m, tables = float(rng.uniform(0.3, 0.5)), float(rng.uniform(6.2, 8.5)), 2
    depth_m, track_x_m = tables * _MODULE_M[1], float(rng.uniform(-6, 6))
    rise = np.array([0, np.sin(tilt), np.cos(tilt)]) * depth_m
    normal = np.array([0, np.cos(tilt), -np.sin(tilt)])
    sun = float(np.clip(normal @ np.array(weather.to_sun), 0, 1))
    for z_m in np.arange(-45, 150, pitch_m):
        for side in (-1, 1):
            start_m = track_x_m + side * 4.2
            for k in range(3):
                length_m = 22 * _MODULE_M[0]
                x_m = start_m + k * (length_m + 1.6) if side > 0 else start_m - (k + 1) * length_m - k * 1.6
                origin = np.array([x_m, 0.75, float(z_m)])
                paint = PanelPaint(weather, int(rng.integers(1 << 16)), sun)
                layout.slabs.append(Slab(origin, np.array([length_m, 0, 0.0]), rise, paint))
    lane_z_m = -45 + pitch_m * round((45 + 45) / pitch_m) - 1.4
    layout.park(track_x_m + 0.2, lane_z_m + float(rng.uniform(-12, 12)), 0.0, engine=0.7)
    for _ in range(int(rng.integers(2, 6))):
        z_m = lane_z_m + pitch_m * int(rng.integers(-4, 5))
        half_m = float(rng.uniform(18, 40))
        layout.walk(
            (track_x_m - half_m, 0.0, z_m),
            (track_x_m + half_m, 0.0, z_m),
            float(rng.uniform(0.2, 0.8)) * 2 * half_m,
        )
    for _ in range(int(rng.integers(0, 14))):
        layout.add_tree(
            track_x_m + float(rng.choice([-1, 1])) * float(rng.uniform(80, 110)),
            float(rng.uniform(-40, 140)),
            8.0,
        )
    hut = np.array([track_x_m - 2.4, 0.0, lane_z_m + 2.5 * pitch_m])
    layout.things.append(props.box(hut, np.array([2.2, 2.3, 3.4]), (0.30, 0.36, 0.30), 7.0, weather))
    return layout.world(YardPaint(weather, layout.noise, track_x_m), [], _DRIFT_PX_S)
