"""Trees, hedges and tree lines: branches as ribbons, crowns as clouds of leaves lit by the sun."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .faces import Faces, faces, joined
from .weather import Colour, Weather

LEAVES: tuple[Colour, ...] = (
    (0.030, 0.105, 0.055),
    (0.025, 0.075, 0.040),
    (0.035, 0.130, 0.085),
    (0.020, 0.130, 0.190),
    (0.020, 0.085, 0.200),
)
BARK = np.array([0.07, 0.09, 0.11])
_HIGH_EYE_M = 20.0


@dataclass(frozen=True)
class Tree:
    """A tree standing on the ground."""

    x_m: float
    z_m: float
    height_m: float
    spread_m: float
    """Radius of the crown."""
    leaf_bgr: Colour
    is_bare: bool
    is_conifer: bool
    seed: int


def ribbons(
    start_n3: NDArray[np.floating],
    end_n3: NDArray[np.floating],
    start_radius_n: NDArray[np.floating] | float,
    end_radius_n: NDArray[np.floating] | float,
    eye_3: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Flat strips (n, 4, 3) around the given axes, turned towards the eye."""
    start, end = np.atleast_2d(start_n3).astype(np.float64), np.atleast_2d(end_n3).astype(np.float64)
    a, b = end - start, eye_3 - start
    # np.cross and np.linalg.norm take several times as long for so few rows.
    side = a[:, [1, 2, 0]] * b[:, [2, 0, 1]] - a[:, [2, 0, 1]] * b[:, [1, 2, 0]]
    side /= np.sqrt(np.maximum((side * side).sum(axis=1, keepdims=True), 1e-18))
    low = side * np.reshape(start_radius_n, (-1, 1))
    high = side * np.reshape(end_radius_n, (-1, 1))
    return np.stack([start - low, start + low, end + high, end - high], axis=1)


def tree_faces(tree: Tree, weather: Weather, eye_3: NDArray[np.floating], px_per_m: float) -> Faces:
    """The tree as faces, as finely as `px_per_m` at its distance can show."""
    rng = np.random.default_rng([tree.seed, 11])
    detail = float(np.clip(px_per_m * tree.height_m, 8, 1400))
    branches = _branches(tree, rng, levels=3 + int(detail > 60) + 2 * int(tree.is_bare and detail > 120))
    wood = _wood(branches, weather, np.asarray(eye_3) - [tree.x_m, 0, tree.z_m], thinnest_m=0.35 / px_per_m)
    if tree.is_bare:
        return _moved(wood, tree)
    centres, radii = _clusters(tree, rng, branches)
    return _moved(joined([wood, _leaves(tree, rng, weather, eye_3, centres, radii, detail)]), tree)


def _moved(shape: Faces, tree: Tree) -> Faces:
    return shape.placed((tree.x_m, 0.0, tree.z_m))


def _branches(tree: Tree, rng: np.random.Generator, levels: int) -> NDArray[np.float64]:
    """Segments (n, 8): start, end, the two radii; a trunk that forks `levels` times."""
    trunk_top = tree.height_m * (0.28 if not tree.is_conifer else 0.95)
    radius = 0.022 * tree.height_m
    lean = rng.normal(0, 0.02, 2) * tree.height_m
    found = [
        np.array(
            [0, 0, 0, lean[0], trunk_top, lean[1], radius, radius * (0.75 if not tree.is_conifer else 0.2)]
        )
    ]
    tips = [(found[0], tree.height_m * (0.24 if tree.is_bare else 0.2))]
    for _ in range(0 if tree.is_conifer else levels):
        grown = []
        for parent, length in tips:
            ahead = parent[3:6] - parent[:3]
            ahead /= np.linalg.norm(ahead)
            for _ in range(int(rng.integers(2, 5))):
                way = ahead + rng.normal(0, 0.40, 3) + [0, 0.22, 0]
                end = parent[3:6] + way / np.linalg.norm(way) * length * rng.uniform(0.7, 1.2)
                child = np.concatenate([parent[3:6], end, [parent[7] * 0.8, parent[7] * 0.5]])
                grown.append((child, length * 0.68))
        found += [child for child, _ in grown]
        tips = grown
    return np.array(found)


def _wood(
    branches: NDArray[np.float64], weather: Weather, eye_3: NDArray[np.floating], thinnest_m: float
) -> Faces:
    thick = np.maximum(branches[:, 6:8], thinnest_m)
    strips = ribbons(branches[:, :3], branches[:, 3:6], thick[:, 0], thick[:, 1], np.asarray(eye_3))
    over_air_c = 0.4 * weather.stored_heat_c + 0.15 * weather.sun_heat_c - 0.4
    sun = 0.35 * weather.to_sun[1] + 0.15
    return faces(strips, BARK, weather.air_c + over_air_c, sun=sun, ambient=0.55)


def _clusters(
    tree: Tree, rng: np.random.Generator, branches: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres (n, 3) and radii (n, 3) of the clumps that make the crown."""
    if tree.is_conifer:
        share = 1 - np.sqrt(rng.uniform(0.002, 0.85, 150))
        turn = rng.uniform(0, 2 * np.pi, 150)
        width = tree.spread_m * (1.03 - share) * rng.uniform(0.7, 1.1, 150)
        out = width * 0.7
        centres = np.stack(
            [np.cos(turn) * out, share * tree.height_m - 0.3 * out, np.sin(turn) * out], axis=1
        )
        flat = 0.10 * tree.spread_m + 0.28 * width
        return centres, np.stack([flat, flat * 0.55, flat], axis=1)
    middle = np.array([0, tree.height_m * 0.62, 0])
    shape = np.array([tree.spread_m, tree.height_m * 0.36, tree.spread_m])
    ways = rng.normal(0, 1, (26, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    centres = middle + ways * shape * rng.uniform(0.35, 0.82, (26, 1))
    tips = branches[-14:, 3:6] if len(branches) > 14 else branches[:, 3:6]
    centres = np.concatenate([centres, tips[tips[:, 1] > tree.height_m * 0.3]])
    size = rng.uniform(0.28, 0.46, len(centres)) * min(tree.spread_m, tree.height_m * 0.4)
    return centres, np.stack([size * 1.15, size * 0.8, size * 1.15], axis=1)


def _leaves(
    tree: Tree,
    rng: np.random.Generator,
    weather: Weather,
    eye_3: NDArray[np.floating],
    centres_n3: NDArray[np.float64],
    radii_n3: NDArray[np.float64],
    detail_px: float,
) -> Faces:
    """Leaves on the clumps' shells, lit by the clump's normal, dim towards the inside of the crown."""
    count = int(np.clip(0.10 * detail_px**2, 150, 9000))
    which = rng.integers(0, len(centres_n3), count)
    ways = rng.normal(0, 1, (count, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    points = centres_n3[which] + ways * radii_n3[which] * rng.uniform(0.55, 1.08, (count, 1)) ** 0.5
    middle = centres_n3.mean(axis=0)
    crown = np.abs(centres_n3 - middle).max(axis=0) + radii_n3.max(axis=0)
    outside = np.linalg.norm((points - middle) / crown, axis=1)
    size_m = np.sqrt(14.0 * tree.spread_m * tree.height_m / count) * rng.uniform(0.16, 0.36, count)
    across, up = _facing(tree, eye_3)
    turn = rng.uniform(0, 2 * np.pi, (count, 1))
    long_axis = (np.cos(turn) * across + np.sin(turn) * up) * size_m[:, None]
    short_axis = (np.cos(turn) * up - np.sin(turn) * across) * (0.55 * size_m)[:, None]
    ends = (points - long_axis, points - short_axis, points + long_axis, points + short_axis)
    corners = np.stack(ends, axis=1)
    upper = (points[:, 1] - middle[1]) / crown[1]
    light = np.clip(0.55 * (ways @ np.array(weather.to_sun)) + 0.35 * upper + 0.25, 0.03, 1)
    ambient = np.clip(0.15 + 0.55 * outside**2 + 0.30 * upper, 0.08, 1)
    tone = rng.uniform(0.7, 1.35, (count, 1)) * (1 + 0.25 * rng.uniform(-1, 1, len(centres_n3))[which, None])
    albedo = np.array(tree.leaf_bgr) * tone
    # Leaves stay within a degree or two of the air: warmer inside at night, on the sunny side by day.
    over_air_c = (
        0.16 * weather.sun_heat_c * light
        - 0.02 * (weather.air_c - weather.sky_c) * ambient
        + 0.6 * (1 - outside)
    )
    warmth = weather.air_c + over_air_c + rng.normal(0, 0.35, count)
    leaves = faces(corners, albedo, warmth, sun=light * (0.35 + 0.65 * outside), ambient=ambient)
    return joined([_inside(tree, centres_n3, radii_n3, across, weather), leaves])


def _facing(tree: Tree, eye_3: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two axes in which leaves lie, roughly across the line of sight."""
    towards = np.array([eye_3[0] - tree.x_m, 0, eye_3[2] - tree.z_m])
    towards /= max(float(np.linalg.norm(towards)), 1e-6)
    up = np.array([0, 1.0, 0]) if eye_3[1] < _HIGH_EYE_M else np.array([0, 0.5, 0]) + 0.5 * towards
    return np.cross([0, 1, 0], towards), up


def _inside(
    tree: Tree,
    centres_n3: NDArray[np.float64],
    radii_n3: NDArray[np.float64],
    across: NDArray[np.float64],
    weather: Weather,
) -> Faces:
    """Dark diamonds behind the leaves of each clump, so that a crown is not transparent."""
    rng = np.random.default_rng([tree.seed, 14])
    centres, radii = np.repeat(centres_n3, 7, axis=0), np.repeat(radii_n3, 7, axis=0)
    centres = centres + rng.normal(0, 0.22, centres.shape) * radii
    middle = centres_n3.mean(axis=0)
    reach = np.abs(centres_n3 - middle).max(axis=0) + radii_n3.max(axis=0)
    inner = np.linalg.norm((centres - middle) / reach, axis=1) < 0.62
    centres, radii = centres[inner], radii[inner]
    turn = rng.uniform(0, 2 * np.pi, (len(centres), 1))
    a = (np.cos(turn) * across + np.sin(turn) * [0, 1, 0]) * radii[:, 1:2] * 0.34
    b = (np.cos(turn) * [0, 1, 0] - np.sin(turn) * across) * radii[:, 1:2] * 0.36
    corners = np.stack([centres - a, centres - b, centres + a, centres + b], axis=1)
    tone = rng.uniform(0.35, 0.75, (len(centres), 1))
    return faces(
        corners,
        np.array(tree.leaf_bgr) * tone,
        weather.air_c + 0.4,
        sun=0.12,
        ambient=0.3,
        bias_m=-tree.spread_m,
    )


def hedge_faces(
    start_3: NDArray[np.floating],
    end_3: NDArray[np.floating],
    height_m: float,
    leaf_bgr: Colour,
    weather: Weather,
    px_per_m: float,
    seed: int,
) -> Faces:
    """A clipped hedge between two points on the ground."""
    rng = np.random.default_rng([seed, 12])
    length_m = float(np.linalg.norm(np.asarray(end_3) - start_3))
    count = int(np.clip(length_m * height_m * px_per_m**2 * 0.10, 150, 6000))
    size = np.sqrt(2.2 * length_m * height_m / count) * rng.uniform(0.5, 1.1, count)
    share, height = rng.uniform(0, 1, (count, 1)), rng.uniform(0, 1, count) ** 0.8 * height_m
    points = start_3 + (np.asarray(end_3) - start_3) * share + rng.normal(0, 0.16, (count, 3))
    points[:, 1] = height * (1 + 0.05 * rng.standard_normal(count))
    turn = rng.uniform(0, 2 * np.pi, count)
    a = np.stack([np.cos(turn), np.sin(turn), np.cos(turn)], axis=1) * size[:, None]
    b = np.stack([-np.sin(turn), np.cos(turn), -np.sin(turn)], axis=1) * size[:, None] * 0.6
    corners = np.stack([points - a, points - b, points + a, points + b], axis=1)
    upper = height / height_m
    light = np.clip(weather.to_sun[1] * upper + rng.normal(0, 0.12, count), 0.05, 1)
    albedo = np.array(leaf_bgr) * rng.uniform(0.6, 1.3, (count, 1))
    warmth = weather.air_c + 0.15 * weather.sun_heat_c * light - 0.5 * upper + rng.normal(0, 0.3, count)
    return faces(corners, albedo, warmth, sun=light, ambient=0.25 + 0.65 * upper)
