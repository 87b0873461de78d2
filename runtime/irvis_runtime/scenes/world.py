"""A place with everything in it, and how its still part is painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .actors import Actor
from .building import Building
from .canvas import Canvas, Paint, PaintSurface
from .faces import Faces
from .noise import Floats, Noise
from .plants import Tree, tree_faces
from .roofs import draw_building
from .view import View
from .weather import Weather

_SUN_CELL_M = 0.5
_SUN_EXTENT_M = ((-80.0, 80.0), (-20.0, 260.0))


@dataclass(frozen=True)
class Slab:
    """A rectangle in space with its own paint, such as a solar panel."""

    origin_m: NDArray[np.float64]
    u_m: NDArray[np.float64]
    v_m: NDArray[np.float64]
    paint: PaintSurface


@dataclass(frozen=True)
class World:
    """The still things from which a canvas is painted, and the actors drawn over it for each frame."""

    weather: Weather
    view: View
    """Of the canvas, which is larger than the picture: the camera sways within it."""
    noise: Noise
    ground: PaintSurface
    ridges: Sequence[Ridge]
    buildings: Sequence[Building]
    trees: Sequence[Tree]
    slabs: Sequence[Slab]
    things: Sequence[Faces]
    parked: Sequence[Faces]
    """Vehicles that stay."""
    actors: Sequence[Actor]
    drift_px_s: float
    """How fast the view wanders over the canvas, in pixels of a picture 640 px wide."""

    @cached_property
    def shadows(self) -> list[NDArray[np.float64]]:
        """What buildings and crowns keep the sun from, as convex polygons on the ground."""
        return _shadows(self)

    @cached_property
    def _sun_map(self) -> Floats:
        """Share of the sun on the ground, one cell for each _SUN_CELL_M of x (columns) and z (rows)."""
        import cv2

        columns, rows = (round((high - low) / _SUN_CELL_M) for low, high in _SUN_EXTENT_M)
        lit = np.ones((rows, columns), np.float32)
        for shadow in self.shadows:
            cells = (shadow[:, [0, 2]] - [low for low, _ in _SUN_EXTENT_M]) / _SUN_CELL_M
            cv2.fillConvexPoly(lit, np.round(np.clip(cells, -8000, 8000)).astype(np.int32), 0.08)
        return np.asarray(cv2.GaussianBlur(lit, (0, 0), 1.2), np.float32)

    def sun_share(self, x_m: float, z_m: float) -> float:
        """How much of the sun reaches a place on the ground, 0.08 in shadow .. 1."""
        (left, _), (near, _) = _SUN_EXTENT_M
        column, row = int((x_m - left) / _SUN_CELL_M), int((z_m - near) / _SUN_CELL_M)
        rows, columns = self._sun_map.shape
        return float(self._sun_map[row, column]) if 0 <= row < rows and 0 <= column < columns else 1.0


@dataclass(frozen=True)
class Ridge:
    """A line of hills or woods at the horizon."""

    distance_m: float
    height_m: float
    roughness_m: float
    """Wavelength of its coarsest feature along the horizon."""
    albedo_bgr: tuple[float, float, float]
    over_air_c: float


def painted(world: World, supersampling: int) -> Canvas:
    """The still part of the world, with `supersampling` times as many pixels a side as the world's view."""
    canvas = Canvas(world.view.scaled(supersampling))
    eye = np.array(world.view.position_m)
    _draw_sky(canvas, world)
    for ridge in sorted(world.ridges, key=lambda ridge: -ridge.distance_m):
        _draw_ridge(canvas, ridge, world)
    canvas.ground(world.ground)
    _shade_ground(canvas, world)
    for building in sorted(world.buildings, key=lambda b: float(np.hypot(b.x_m - eye[0], b.z_m - eye[2]))):
        draw_building(canvas, building, world.weather, world.noise)
    for slab in world.slabs:
        canvas.plane(slab.origin_m, slab.u_m, slab.v_m, slab.paint)
    for vehicle in world.parked:
        canvas.faces(_shaded(world, vehicle), one_sided=True)
    for thing in world.things:
        canvas.faces(_shaded(world, thing))
    for tree in world.trees:
        away = float(np.linalg.norm(eye - [tree.x_m, tree.height_m / 2, tree.z_m]))
        canvas.faces(tree_faces(tree, world.weather, eye, canvas.view.focal_px / max(away, 1.0)))
    return canvas


def _shade_ground(canvas: Canvas, world: World) -> None:
    """Shadows of the sun, and the dim places under crowns and parked vehicles."""
    cooler_c = -0.35 * world.weather.sun_heat_c * world.weather.to_sun[1]
    canvas.shade_ground(world.shadows, keep_sun=0.06, keep_ambient=0.85, heat_c=cooler_c)
    canvas.shade_ground(
        [_disc(t.x_m, t.z_m, t.spread_m * 0.9) for t in world.trees if not t.is_bare], 1.0, 0.8, 0.4
    )
    for grow, keep in ((0.18, 0.8), (0.06, 0.7), (-0.1, 0.45)):
        below = [_grown(ground_hull(parked.corners_n43.reshape(-1, 3)), grow) for parked in world.parked]
        canvas.shade_ground(below, keep, keep, 0.25)


def _grown(hull_n3: NDArray[np.float64], by_m: float) -> NDArray[np.float64]:
    out = hull_n3 - hull_n3.mean(axis=0)
    return np.asarray(hull_n3 + out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-6) * by_m)


def _shaded(world: World, thing: Faces) -> Faces:
    """A thing of one place, such as a parked car, with the sun that reaches the place."""
    low, high = thing.corners_n43.min(axis=(0, 1)), thing.corners_n43.max(axis=(0, 1))
    if max(high[0] - low[0], high[2] - low[2]) > 8:
        return thing
    share = world.sun_share(float(low[0] + high[0]) / 2, float(low[2] + high[2]) / 2)
    return replace(thing, sun_n=thing.sun_n * np.float32(share))


def _draw_sky(canvas: Canvas, world: World) -> None:
    """A gradient, a glow around the sun, clouds on a plane overhead; the ground is left out."""
    weather, index = world.weather, canvas.above_ground()
    if index.size == 0:
        return
    x, y, z = canvas.view.rays_at(index)
    length = np.sqrt(x * x + y * y + z * z)
    x, up, z = x / length, np.clip(y / length, 0, 1), z / length
    share = (np.clip(up * 1.5, 0, 1) ** 0.55)[..., None]
    horizon, zenith = np.array(weather.horizon_bgr, np.float32), np.array(weather.zenith_bgr, np.float32)
    to_sun = weather.to_sun
    facing = np.clip(x * to_sun[0] + up * to_sun[1] + z * to_sun[2], 0, 1)
    sun = np.array(weather.sun_bgr, np.float32)
    sky = horizon * (1 - share) + zenith * share + (0.12 * facing**6 + 0.25 * facing**60)[..., None] * sun
    overhead = 1 / np.maximum(up, 0.02)
    puffs = world.noise.fractal(
        x * overhead * 900, z * overhead * 900, 0.9 * overhead**2, 1100, 7, gain=0.62, index=8
    )
    cover = np.clip(puffs * 0.55 + weather.cloudiness * 1.5 - 0.75, 0, 1) * np.clip((up - 0.01) / 0.08, 0, 1)
    cover = cover * np.float32(np.exp(-120 * weather.haze_per_m))
    lit = np.clip(0.8 + 0.35 * (1.15 - 0.75 * weather.cloudiness) * puffs, 0.3, 1.4)[..., None]
    cloud = np.maximum(
        (sun * 0.28 + np.array(weather.ambient_bgr, np.float32) * 0.55) * lit, horizon * 0.55 * lit
    )
    sky = sky + (0.85 * cover)[..., None] * (cloud - sky)
    canvas.backmost(
        index, np.asarray(sky, np.float32), weather.sky_temperature_c(up, np.asarray(cover, np.float32))
    )


def _draw_ridge(canvas: Canvas, ridge: Ridge, world: World) -> None:
    """Fills the sky below the ridge's outline; its woods are texture."""
    index, weather = canvas.above_ground(ridge.height_m * 2.3 / ridge.distance_m), world.weather
    if index.size == 0:
        return
    x, y, z = canvas.view.rays_at(index)
    flat = np.sqrt(x * x + z * z)
    along = np.arctan2(x, z) * np.float32(ridge.distance_m)
    height = y / flat * np.float32(ridge.distance_m) + np.float32(world.view.position_m[1])
    footprint, salt = ridge.distance_m / canvas.view.focal_px, int(ridge.distance_m) % 13
    profile = world.noise.fractal(along, along * 0, footprint, ridge.roughness_m, 8, gain=0.55, index=salt)
    below = height < ridge.height_m * (1 + 0.38 * profile)
    texture = world.noise.fractal(
        along, height * 1.4, footprint, max(ridge.roughness_m / 8, 3.0), 5, gain=0.85, index=salt + 1
    )
    paint = Paint.plain(index[below], weather.air_c + ridge.over_air_c, 0.55 * weather.to_sun[1] + 0.1, 0.8)
    shade = np.clip(0.75 + 0.3 * texture[below], 0.2, 1.6)
    paint.albedo_hw3 = np.asarray(shade[..., None] * np.array(ridge.albedo_bgr, np.float32), np.float32)
    paint.temperature_hw += np.float32(0.4) * texture[below]
    canvas.distant(index[below], ridge.distance_m, paint)


def _shadows(world: World) -> list[NDArray[np.float64]]:
    to_sun, found = np.array(world.weather.to_sun), []
    if world.weather.sun_heat_c < 4:
        return []
    for b in world.buildings:
        base = np.insert(b.footprint_m42, 1, 0.0, axis=1)
        tall_m = b.height_m + 0.5 * b.roof_m
        top = base + np.array([0, tall_m, 0]) - to_sun * tall_m / to_sun[1]
        found.append(ground_hull(np.concatenate([base, top])))
    slope = to_sun / to_sun[1]
    for parked in world.parked:
        points = parked.corners_n43.reshape(-1, 3)
        found.append(ground_hull(points - points[:, 1:2] * slope))
    for tree in world.trees:
        rng = np.random.default_rng([tree.seed, 13])
        for _ in range(6 if tree.is_bare else 22):
            share = rng.uniform(0.12, 0.3) if tree.is_bare else rng.uniform(0.25, 0.5)
            middle = np.array([tree.x_m, tree.height_m * rng.uniform(0.42, 0.85), tree.z_m])
            middle[[0, 2]] += rng.normal(0, 0.36, 2) * tree.spread_m
            foot = middle - slope * middle[1]
            found.append(_disc(foot[0], foot[2], tree.spread_m * share))
    return found


def _disc(x_m: float, z_m: float, radius_m: float) -> NDArray[np.float64]:
    turn = np.arange(12) * np.pi / 6
    return np.stack([x_m + radius_m * np.cos(turn), np.zeros(12), z_m + radius_m * np.sin(turn)], axis=1)


def ground_hull(points_n3: NDArray[np.floating]) -> NDArray[np.float64]:
    """The convex hull of points on the ground, in order around."""
    import cv2

    flat = np.ascontiguousarray(points_n3[:, [0, 2]], np.float32)
    hull = np.asarray(cv2.convexHull(flat), np.float64).reshape(-1, 2)
    return np.insert(hull, 1, 0.0, axis=1)
