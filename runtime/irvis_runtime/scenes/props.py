"""Things beside a street: lamps, signs, poles with wires, fences, traffic lights."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .faces import Faces, faces, joined
from .plants import ribbons
from .vehicles import lit
from .weather import Colour, Lamp, Weather

STEEL: Colour = (0.16, 0.16, 0.15)
SODIUM: Colour = (0.12, 0.48, 1.0)
WHITE: Colour = (0.95, 0.95, 0.90)
_BLACK: Colour = (0.03, 0.03, 0.03)


def pole(
    start_3: NDArray[np.floating],
    end_3: NDArray[np.floating],
    radius_m: float,
    weather: Weather,
    eye_3: NDArray[np.floating],
    colour: Colour = STEEL,
    over_air_c: float = -0.5,
) -> Faces:
    """A round bar: lit on one half."""
    sunny = over_air_c + 0.4 * weather.sun_heat_c * (weather.to_sun[1] > 0.2)
    whole = faces(
        ribbons(start_3, end_3, radius_m, radius_m * 0.8, eye_3),
        colour,
        weather.air_c + over_air_c,
        sun=0.25,
        ambient=0.5,
    )
    half = ribbons(start_3, end_3, radius_m * 0.45, radius_m * 0.4, eye_3)
    return joined([whole, faces(half, colour, weather.air_c + sunny, sun=0.7, ambient=0.75, bias_m=0.02)])


def lamp_post(
    x_m: float,
    z_m: float,
    reach_m: float,
    height_m: float,
    weather: Weather,
    colour: Colour,
    power: float,
    eye_3: NDArray[np.floating],
) -> tuple[Faces, Lamp]:
    """A street lamp whose arm reaches `reach_m` along x, and its light (none by day)."""
    foot, head = np.array([x_m, 0.0, z_m]), np.array([x_m, height_m, z_m])
    tip = np.array([x_m + reach_m, height_m + 0.25, z_m])
    bright = 14.0 if weather.lights_on else 0.0
    housing = ribbons(tip, tip + np.array([np.sign(reach_m) * 0.7, 0.02, 0]), 0.10, 0.07, eye_3)
    bulb = housing.copy()
    bulb[:, :, 1] -= 0.09
    warmth = weather.air_c + (7.0 if weather.lights_on else -1.0)
    shape = joined(
        [
            pole(foot, head, 0.085, weather, eye_3),
            pole(head, tip, 0.05, weather, eye_3),
            faces(housing, STEEL, warmth, sun=0.6),
            faces(
                bulb,
                (0.5, 0.5, 0.5),
                warmth,
                glow=(colour[0] * bright, colour[1] * bright, colour[2] * bright),
                bias_m=0.05,
            ),
        ]
    )
    on = power * height_m**2 if weather.lights_on else 0.0
    light = Lamp((float(tip[0]), height_m, z_m), (colour[0] * on, colour[1] * on, colour[2] * on))
    return shape, light


def sign(
    x_m: float,
    z_m: float,
    height_m: float,
    weather: Weather,
    eye_3: NDArray[np.floating],
    rng: np.random.Generator,
) -> Faces:
    """A traffic sign on its post: round, or a blue or green board."""
    foot, top = np.array([x_m, 0, z_m]), np.array([x_m, height_m, z_m])
    parts = [pole(foot, top, 0.035, weather, eye_3)]
    chill_c = weather.air_c - 1.0 + 0.3 * weather.sun_heat_c * (weather.to_sun[1] > 0.2)
    if rng.random() < 0.5:
        for radius, colour in ((0.34, (0.04, 0.03, 0.55)), (0.25, (0.65, 0.65, 0.65))):
            parts.append(
                faces(
                    _facing_disc(top, radius), colour, chill_c, sun=0.5, bias_m=0.1 if radius < 0.3 else 0.05
                )
            )
        dash = _board(top, 0.15, 0.04)
        parts.append(faces(dash, (0.03, 0.03, 0.03), chill_c, sun=0.5, bias_m=0.15))
    else:
        colour = ((0.45, 0.16, 0.03), (0.12, 0.28, 0.04))[int(rng.integers(2))]
        parts.append(faces(_board(top, 0.75, 0.42), (0.6, 0.6, 0.6), chill_c, sun=0.5, bias_m=0.05))
        parts.append(faces(_board(top, 0.71, 0.38), colour, chill_c, sun=0.5, bias_m=0.1))
        for row in (-0.16, 0.02, 0.2):
            middle = top + np.array([rng.uniform(-0.2, 0.1), row, 0])
            place = _board(middle, float(rng.uniform(0.2, 0.5)), 0.045)
            parts.append(faces(place, (0.6, 0.6, 0.6), chill_c, sun=0.5, bias_m=0.15))
    return joined(parts)


def traffic_light(
    x_m: float, z_m: float, reach_m: float, weather: Weather, eye_3: NDArray[np.floating], green: bool
) -> Faces:
    """A mast with an arm over the road and a box of three lights, one of which is on."""
    foot, top = np.array([x_m, 0, z_m]), np.array([x_m, 5.6, z_m])
    tip = top + np.array([reach_m, 0.2, 0])
    parts = [pole(foot, top, 0.10, weather, eye_3), pole(top, tip, 0.06, weather, eye_3)]
    for place in (tip - [0, 0.35, 0], foot + np.array([0, 2.9, 0])):
        parts.append(
            faces(_board(place, 0.19, 0.52), (0.02, 0.02, 0.02), weather.air_c + 1.5, sun=0.3, bias_m=0.1)
        )
        for row, colour, on in (
            (0.33, (0.05, 0.05, 1.0), not green),
            (0, (0.03, 0.4, 0.9), False),
            (-0.33, (0.55, 0.9, 0.1), green),
        ):
            shine = 2.5 if on else 0.015
            glow = (colour[0] * shine, colour[1] * shine, colour[2] * shine)
            warmth = weather.air_c + (9.0 if on else 2.0)
            parts.append(
                faces(_facing_disc(place + np.array([0, row, 0]), 0.12), _BLACK, warmth, glow, bias_m=0.2)
            )
    return joined(parts)


def power_line(
    x_m: float, depths_m: NDArray[np.floating], height_m: float, weather: Weather, eye_3: NDArray[np.floating]
) -> Faces:
    """Wooden poles at the given z with crossarms, and three sagging wires between them."""
    parts = []
    wood: Colour = (0.07, 0.10, 0.13)
    for z_m in depths_m:
        foot, top = np.array([x_m, 0, z_m]), np.array([x_m, height_m, z_m])
        arm = np.array([0.9, 0, 0])
        parts.append(pole(foot, top, 0.13, weather, eye_3, wood, 0.8))
        parts.append(pole(top - arm - [0, 0.4, 0], top + arm - [0, 0.4, 0], 0.06, weather, eye_3, wood, 0.6))
    share = np.linspace(0, 1, 13)
    for a, b in pairwise(depths_m):
        for offset in (-0.85, 0.0, 0.85):
            sag = height_m - 0.3 - 1.1 * 4 * share * (1 - share) * (1 if offset else 0.9)
            points = np.stack([np.full(13, x_m + offset), sag, a + (b - a) * share], axis=1)
            wire = ribbons(points[:-1], points[1:], 0.018, 0.018, eye_3)
            parts.append(faces(wire, (0.03, 0.03, 0.03), weather.air_c - 1.0, sun=0.3))
    return joined(parts)


def guard_rail(
    xs_m: NDArray[np.floating], zs_m: NDArray[np.floating], weather: Weather, eye_3: NDArray[np.floating]
) -> Faces:
    """A steel rail on posts along the given points."""
    parts = []
    foot = np.stack([xs_m, np.zeros_like(xs_m), zs_m], axis=1)
    for height, radius, sun in ((0.62, 0.13, 0.45), (0.68, 0.05, 0.8)):
        line = foot + np.array([0, height, 0])
        strips = ribbons(line[:-1], line[1:], radius, radius, eye_3)
        parts.append(
            faces(
                strips,
                (0.34, 0.34, 0.33),
                weather.air_c - 1.2 + 0.25 * weather.sun_heat_c * sun,
                sun=sun,
                ambient=0.7,
                bias_m=radius * -0.1,
            )
        )
    posts = ribbons(foot, foot + np.array([0, 0.6, 0]), 0.06, 0.06, eye_3)
    parts.insert(0, faces(posts, (0.22, 0.22, 0.22), weather.air_c - 0.5, sun=0.3, ambient=0.6))
    return joined(parts)


def _board(centre_3: NDArray[np.floating], half_x_m: float, half_y_m: float) -> NDArray[np.float64]:
    signs = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    return np.asarray(centre_3 + signs * [half_x_m, half_y_m, 0], np.float64)


def _facing_disc(centre_3: NDArray[np.floating], radius_m: float) -> NDArray[np.float64]:
    turn = np.arange(12) * np.pi / 6
    rim = np.asarray(centre_3) + radius_m * np.stack([np.cos(turn), np.sin(turn), np.zeros(12)], axis=1)
    return np.array([[rim[0], rim[2 * k + 1], rim[2 * k + 2], rim[2 * k + 3]] for k in range(5)])


def box(
    foot_3: NDArray[np.floating],
    size_m: NDArray[np.floating],
    colour: Colour,
    over_air_c: float,
    weather: Weather,
) -> Faces:
    """A box of size (x, y, z) that stands on the middle of its base at `foot_3`."""
    half = np.array([size_m[0] / 2, size_m[1], size_m[2] / 2])
    low, high = foot_3 - half * [1, 0, 1], foot_3 + half
    c = np.array([[(low, high)[k >> axis & 1][axis] for axis in range(3)] for k in range(8)])
    sides = [(0, 1, 3, 2), (5, 4, 6, 7), (4, 0, 2, 6), (1, 5, 7, 3), (2, 3, 7, 6)]
    shape = faces(c[np.array(sides)], colour, weather.air_c + over_air_c)
    return lit(shape, weather, gloss=0.0)
