"""Vehicles: a lofted body with glass, lamps and wheels; warm at engine, tyres and exhaust."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .faces import Faces, faces, joined
from .noise import Floats
from .weather import Colour, Weather

PAINTS: tuple[Colour, ...] = (
    (0.62, 0.63, 0.63), (0.40, 0.40, 0.39), (0.03, 0.03, 0.03), (0.12, 0.12, 0.12),
    (0.06, 0.05, 0.36), (0.30, 0.13, 0.06), (0.55, 0.56, 0.58), (0.10, 0.16, 0.10), (0.12, 0.28, 0.42),
)  # fmt: skip
_DARK = (0.02, 0.02, 0.02)


@dataclass(frozen=True)
class Body:
    """The shape of a kind of vehicle: stations from the rear to the front."""

    length_m: float
    width_m: float
    station_share: tuple[float, ...]
    """Position along the length, -0.5 rear .. 0.5 front."""
    shoulder_m: tuple[float, ...]
    """Height of the lower edge of the windows at each station."""
    top_m: tuple[float, ...]
    """Height of the middle line at each station."""
    wheel_share: tuple[float, float]
    wheel_radius_m: float
    roof_share: float
    """Width of the roof as a share of the body's."""


BODIES = {
    "saloon": Body(4.6, 1.82,
        (-0.50, -0.485, -0.36, -0.19, -0.02, 0.10, 0.26, 0.42, 0.485, 0.50),
        (0.78, 0.93, 0.96, 0.96, 0.95, 0.94, 0.92, 0.82, 0.74, 0.66),
        (0.80, 1.00, 1.05, 1.39, 1.45, 1.40, 1.00, 0.90, 0.80, 0.68), (-0.29, 0.31), 0.32, 0.70),
    "hatchback": Body(4.1, 1.78,
        (-0.50, -0.485, -0.44, -0.30, -0.05, 0.09, 0.27, 0.42, 0.485, 0.50),
        (0.80, 0.97, 1.00, 1.00, 0.98, 0.97, 0.95, 0.86, 0.76, 0.68),
        (0.82, 1.05, 1.12, 1.46, 1.51, 1.45, 1.05, 0.94, 0.82, 0.70), (-0.31, 0.32), 0.32, 0.72),
    "suv": Body(4.7, 1.92,
        (-0.50, -0.49, -0.46, -0.38, -0.05, 0.08, 0.24, 0.42, 0.488, 0.50),
        (0.90, 1.08, 1.12, 1.12, 1.10, 1.10, 1.08, 1.00, 0.92, 0.84),
        (0.92, 1.14, 1.25, 1.68, 1.74, 1.68, 1.18, 1.10, 0.98, 0.86), (-0.30, 0.31), 0.37, 0.78),
    "van": Body(5.4, 2.02,
        (-0.50, -0.495, -0.48, -0.20, 0.10, 0.20, 0.33, 0.43, 0.49, 0.50),
        (1.05, 1.20, 1.22, 1.22, 1.22, 1.22, 1.20, 1.10, 0.98, 0.88),
        (1.08, 2.20, 2.38, 2.42, 2.42, 2.36, 1.62, 1.22, 1.04, 0.90), (-0.30, 0.33), 0.36, 0.86),
    "bus": Body(11.5, 2.52,
        (-0.50, -0.498, -0.49, -0.25, 0.00, 0.25, 0.47, 0.492, 0.498, 0.50),
        (1.10, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25, 1.22, 1.10),
        (1.15, 2.90, 3.05, 3.08, 3.08, 3.08, 3.05, 2.95, 2.70, 1.30), (-0.26, 0.30), 0.50, 0.92),
}  # fmt: skip


def vehicle_faces(kind: str, paint_bgr: Colour, engine: float, weather: Weather, lights_on: bool) -> Faces:
    """A vehicle on the ground at the origin, its front towards +z; `engine` is 0 (cold) .. 1 (long driven).

    Its light is not yet set: see `lit`.
    """
    body = BODIES[kind]
    parts = [_shell(body, kind, paint_bgr, engine, weather)]
    parts += [_front(body, engine, weather, lights_on), _rear(body, engine, weather, lights_on)]
    for side in (-1, 1):
        parts.append(_doors(body, kind, side, weather))
        parts += [_wheel(body, side, share, engine, weather) for share in body.wheel_share]
    return joined(parts)


def lit(shape: Faces, weather: Weather, gloss: float = 1.0) -> Faces:
    """The faces, already placed, lit by their normals; paint and glass mirror the sky."""
    normal = shape.normals_n3
    sun = np.clip(normal @ np.array(weather.to_sun, np.float32), 0, 1)
    ambient = np.clip(0.48 + 0.5 * normal[:, 1], 0.12, 1)
    up = np.clip(normal[:, 1], 0, 1)[:, None]
    sky = np.array(weather.horizon_bgr) * (1 - up) * 0.035 + np.array(weather.zenith_bgr) * up * 0.14
    warmth = weather.sun_heat_c * 0.75 * sun * (1 - shape.albedo_n3.mean(axis=1))
    chill = 0.12 * (weather.air_c - weather.sky_c) * np.clip(normal[:, 1], 0, 1)
    return replace(
        shape,
        sun_n=np.asarray(sun, np.float32),
        ambient_n=np.asarray(ambient * shape.ambient_n, np.float32),
        glow_n3=np.asarray(shape.glow_n3 + gloss * sky, np.float32),
        temperature_n=np.asarray(shape.temperature_n + warmth - chill, np.float32),
    )


_HALF_RING = 9
_GLASS_LEVEL = 4
_CABIN_LIGHT: Colour = (0.045, 0.07, 0.08)


def _rings(body: Body) -> Floats:
    """Points (stations, 17, 3) around the body from the left sill over the top to the right sill."""
    share = np.array(body.station_share)
    shoulder, top = np.array(body.shoulder_m), np.array(body.top_m)
    half = body.width_m / 2 * (1 - 0.09 * np.clip(np.abs(share) * 2, 0, 1) ** 9)
    cabin = np.clip((top - shoulder - 0.1) / 0.35, 0, 1)
    upper = half * (0.88 * (1 - cabin) + body.roof_share * cabin)
    sill = np.full_like(half, 0.22 if body.length_m < 8 else 0.35)
    door, rise = shoulder - sill, top - shoulder
    left = [
        (half * 0.90, sill),
        (half * 0.98, sill + 0.16 * door),
        (half, sill + 0.45 * door),
        (half * 0.995, sill + 0.8 * door),
        (half * 0.955, shoulder),
        (upper + 0.10 * (half - upper), shoulder + 0.82 * rise),
        (upper * 0.88, top - 0.03 * cabin - 0.01),
        (upper * 0.5, top),
        (upper * 0, top + 0.01),
    ]
    z = share * body.length_m
    points = [np.stack([-x, y, z], axis=1) for x, y in left]
    points += [np.stack([x, y, z], axis=1) for x, y in reversed(left[:-1])]
    return np.asarray(np.stack(points, axis=1), np.float32)


def _shell(body: Body, kind: str, paint_bgr: Colour, engine: float, weather: Weather) -> Faces:
    rings, strips = _rings(body), 2 * _HALF_RING - 2
    is_lit = kind == "bus" and engine > 0 and weather.lights_on
    shoulder, top = np.array(body.shoulder_m), np.array(body.top_m)
    quads, albedo, warmth, glow = [], [], [], []
    for k in range(len(rings) - 1):
        share = (body.station_share[k] + body.station_share[k + 1]) / 2
        tall = min(top[k] - shoulder[k], top[k + 1] - shoulder[k + 1]) > 0.12
        rising = abs(top[k + 1] - top[k]) > 0.2
        cargo = kind == "van" and share < 0.1
        for strip in range(strips):
            level = min(strip, strips - 1 - strip)
            is_glass = not cargo and (
                (level == _GLASS_LEVEL and (tall or rising)) or (level > _GLASS_LEVEL and rising)
            )
            if is_glass:
                colour, over_air_c, shine = _pane(level, is_lit, engine, weather)
            else:
                colour, over_air_c, shine = _panel(level, share, paint_bgr, engine)
            quads.append([rings[k, strip], rings[k, strip + 1], rings[k + 1, strip + 1], rings[k + 1, strip]])
            albedo.append(colour)
            warmth.append(weather.air_c + over_air_c)
            glow.append(shine)
    for is_front, ring in ((False, rings[0]), (True, rings[-1])):
        for level in range(_HALF_RING - 2):
            a, b, c, d = ring[level], ring[strips - level], ring[strips - 1 - level], ring[level + 1]
            quads.append([b, a, d, c] if is_front else [a, b, c, d])
            albedo.append(_DARK if level == 0 else paint_bgr)
            warmth.append(weather.air_c + (8 * engine if is_front else 1.0 * engine))
            glow.append((0.0, 0.0, 0.0))
    return faces(np.array(quads), np.array(albedo), np.array(warmth), np.array(glow))


def _panel(level: int, share: float, paint_bgr: Colour, engine: float) -> tuple[Colour, float, Colour]:
    """Colour, warmth over the air, and light of one panel of the shell."""
    if level == 0:
        return _DARK, 3.0 * engine, (0.0, 0.0, 0.0)
    bonnet = engine * float(np.clip((share - 0.2) / 0.1, 0, 1))
    shade = 0.78 if level == 1 else 1.0
    colour = (paint_bgr[0] * shade, paint_bgr[1] * shade, paint_bgr[2] * shade)
    return colour, 0.5 + 9.0 * bonnet, (0.0, 0.0, 0.0)


def _pane(level: int, is_lit: bool, engine: float, weather: Weather) -> tuple[Colour, float, Colour]:
    """The same of a window: to a thermal camera a mirror of the cold sky; a bus is lit inside."""
    over_air_c = 0.18 * (weather.sky_c - weather.air_c) + 2.0 * engine
    mirrored, sky = (0.05 if level == _GLASS_LEVEL else 0.10), weather.horizon_bgr
    inside = _CABIN_LIGHT if is_lit else (0.0, 0.0, 0.0)
    light = (inside[0] + sky[0] * mirrored, inside[1] + sky[1] * mirrored, inside[2] + sky[2] * mirrored)
    return (0.025, 0.025, 0.02), over_air_c, light


def _rectangle(
    x: float, y: float, half_x: float, half_y: float, z: float, front: bool
) -> NDArray[np.float64]:
    s = -1 if front else 1
    return np.array([
        [x - s * half_x, y - half_y, z], [x + s * half_x, y - half_y, z],
        [x + s * half_x, y + half_y, z], [x - s * half_x, y + half_y, z],
    ])  # fmt: skip


def _front(body: Body, engine: float, weather: Weather, lights_on: bool) -> Faces:
    z, half, y = body.length_m / 2 + 0.02, body.width_m / 2, body.shoulder_m[-1]
    grille_y, air = y - 0.09, weather.air_c
    beam = (7.0, 8.5, 9.0) if lights_on else (0.12, 0.12, 0.12)
    parts = [
        faces(
            _rectangle(0, grille_y, half * 0.42, 0.075, z, True),
            (0.03, 0.03, 0.03),
            air + 16 * engine,
            bias_m=0.3,
        ),
        faces(_rectangle(0, y - 0.33, half * 0.62, 0.07, z, True), _DARK, air + 12 * engine, bias_m=0.3),
        faces(
            _rectangle(0, y - 0.21, 0.26, 0.055, z + 0.01, True),
            (0.6, 0.6, 0.6),
            air + 4 * engine,
            bias_m=0.35,
        ),
    ]
    for side in (-1, 1):
        place = _rectangle(side * half * 0.62, grille_y + 0.02, half * 0.17, 0.065, z, True)
        parts.append(
            faces(place, (0.5, 0.5, 0.5), air + (12 * engine if lights_on else 3 * engine), beam, bias_m=0.35)
        )
    return joined(parts)


def _rear(body: Body, engine: float, weather: Weather, lights_on: bool) -> Faces:
    z, half, y, air = -body.length_m / 2 - 0.02, body.width_m / 2, body.shoulder_m[0], weather.air_c
    red = (0.06, 0.06, 1.6) if lights_on else (0.0, 0.0, 0.05)
    parts = [
        faces(_rectangle(0, y - 0.12, 0.26, 0.06, z, False), (0.6, 0.6, 0.6), air + 0.5, bias_m=0.35),
        faces(
            _rectangle(0, 0.36, half * 0.72, 0.09, z, False),
            (0.035, 0.035, 0.035),
            air + 4 * engine,
            bias_m=0.3,
        ),
        faces(
            _rectangle(half * 0.45, 0.27, 0.07, 0.045, z - 0.01, False), _DARK, air + 45 * engine, bias_m=0.4
        ),
    ]
    for side in (-1, 1):
        place = _rectangle(side * half * 0.66, y - 0.02, half * 0.13, 0.085, z, False)
        parts.append(faces(place, (0.03, 0.03, 0.42), air + 1 + 4 * engine * lights_on, red, bias_m=0.35))
    return joined(parts)


def _doors(body: Body, kind: str, side: int, weather: Weather) -> Faces:
    """Gaps between the doors, pillars, and a mirror."""
    x, parts = side * (body.width_m / 2 + 0.012), []
    shares = (-0.15, 0.03, 0.17) if kind != "bus" else (-0.38, -0.25, -0.12, 0.01, 0.14, 0.27)
    for share in shares:
        z, low, high = share * body.length_m, 0.35, body.shoulder_m[4] - 0.02
        if kind == "bus":
            low, high = body.shoulder_m[4], body.top_m[4] - 0.3
        strip = np.array(
            [[x, low, z - 0.015], [x, low, z + 0.015], [x, high, z + 0.015], [x, high, z - 0.015]]
        )
        parts.append(faces(strip if side > 0 else strip[::-1], _DARK, weather.air_c, bias_m=0.25))
    z, y = 0.19 * body.length_m, body.shoulder_m[5] + 0.06
    out = side * 0.17
    mirror = np.array([[x, y - 0.07, z], [x + out, y - 0.07, z], [x + out, y + 0.07, z], [x, y + 0.07, z]])
    for corners in (mirror, mirror[::-1]):
        parts.append(faces(corners, (0.08, 0.08, 0.08), weather.air_c + 0.5, bias_m=0.2))
    return joined(parts)


def _wheel(body: Body, side: int, share: float, engine: float, weather: Weather) -> Faces:
    """Arch, tyre, rim and hub seen from the side, and the tread seen from ahead or behind."""
    r, z, x = body.wheel_radius_m, share * body.length_m, side * (body.width_m / 2)
    air, parts = weather.air_c, []
    for radius, out, colour, over_air_c, bias in (
        (r * 1.16, 0.002, _DARK, 3 * engine, 0.25),
        (r, 0.010, (0.025, 0.025, 0.025), 1 + 11 * engine, 0.32),
        (r * 0.66, 0.014, (0.30, 0.30, 0.30), 0.5 + 7 * engine, 0.36),
        (r * 0.22, 0.016, (0.10, 0.10, 0.10), 0.5 + 16 * engine, 0.40),
    ):
        parts.append(
            faces(
                _disc(x + side * out, r, z, radius, side),
                colour,
                air + over_air_c,
                bias_m=bias,
                is_group=True,
            )
        )
    inner, outer = abs(x) - 0.22, abs(x) - 0.02
    for ahead in (True, False):
        place = _rectangle(
            side * (inner + outer) / 2, r * 0.75, 0.10, r * 0.75, z + (r if ahead else -r) * 0.6, ahead
        )
        parts.append(faces(place, (0.02, 0.02, 0.02), air + 1 + 12 * engine, bias_m=-0.2))
    return joined(parts)


def _disc(x: float, y: float, z: float, radius: float, side: int) -> NDArray[np.float64]:
    """A regular polygon of 12 sides in the plane of x, as five quadrilaterals that face outwards."""
    turn = np.arange(12) * np.pi / 6 * side
    rim = np.stack([np.full(12, x), y + radius * np.sin(turn), z + radius * np.cos(turn)], axis=1)
    fan = [[rim[0], rim[2 * k + 1], rim[2 * k + 2], rim[2 * k + 3]] for k in range(5)]
    return np.array(fan)
