"""The still part of a scene as both cameras' optics deliver it: lit, hazed, mirrored, developed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .canvas import FAR_M, Canvas
from .noise import Floats
from .view import View
from .world import World, painted

_SUPERSAMPLED_PX = 3_400_000
"""Canvases that have at most so many pixels at twice their size are painted at that size."""


@dataclass(frozen=True)
class Backdrop:
    """Still pictures of the whole canvas."""

    visible_hw3: NDArray[np.uint8]
    infrared_c_hw: Floats
    """Apparent temperature, deg C."""
    depth_hw: Floats
    """Metres along the axis; where edges mix, the nearer."""
    lightness_hw: Floats
    """How bright headlights make it, 0..1; 0 on the sky."""
    wet_hw: NDArray[np.uint8]
    """How much of what is above the ground mirrors, 0..255."""


def backdrop(world: World) -> Backdrop:
    """Paints the world and lights it."""
    view, weather = world.view, world.weather
    factor = 2 if 4 * view.height_px * view.width_px <= _SUPERSAMPLED_PX else 1
    canvas = _reduced(painted(world, factor), view, factor)
    x, y, z = view.rays(canvas.whole)
    depth = canvas.depth_hw
    points = np.stack([x * depth, y * depth, z * depth], axis=-1) + np.array(view.position_m, np.float32)
    light = weather.sky_light_bgr(canvas.sun_hw, canvas.ambient_hw) + weather.lamp_light_bgr(points)
    radiance = canvas.albedo_hw3 * light + canvas.glow_hw3
    is_sky = depth > FAR_M * 0.9
    radiance = np.where(is_sky[..., None], radiance, weather.through_air(radiance, depth))
    heat = np.where(is_sky, canvas.temperature_hw, weather.heat_through_air(canvas.temperature_hw, depth))
    mirror = canvas.wet_hw * _grazing(x, y, z)
    if weather.wetness > 0:
        radiance, heat = _mirrored(radiance, heat, mirror, view, world)
    visible = weather.developed(_bloomed(radiance.astype(np.float32)))
    return Backdrop(
        np.clip(visible + 0.5, 0, 255).astype(np.uint8),
        np.ascontiguousarray(heat, np.float32),
        depth,
        np.sqrt(np.clip(canvas.albedo_hw3.mean(axis=-1), 0, 1)),
        np.clip(mirror * 255, 0, 255).astype(np.uint8),
    )


def _reduced(canvas: Canvas, view: View, factor: int) -> Canvas:
    """The canvas at the view's own size: means of blocks, and the nearest depth of each."""
    import cv2

    if factor == 1:
        return canvas
    small = Canvas(view)
    for name in ("albedo_hw3", "glow_hw3", "temperature_hw", "sun_hw", "ambient_hw", "wet_hw"):
        full = getattr(canvas, name)
        if name == "glow_hw3":
            full = np.minimum(full, 40)
        setattr(
            small,
            name,
            np.asarray(cv2.resize(full, (view.width_px, view.height_px), interpolation=cv2.INTER_AREA)),
        )
    blocks = canvas.depth_hw.reshape(view.height_px, factor, view.width_px, factor)
    small.depth_hw = np.ascontiguousarray(blocks.min(axis=(1, 3)))
    return small


def _grazing(x: Floats, y: Floats, z: Floats) -> Floats:
    """The share of light that a level film of water mirrors: Schlick, doi:10.1111/1467-8659.1330233."""
    steep = np.clip(-y / np.sqrt(x * x + y * y + z * z), 0, 1)
    return np.asarray(0.02 + 0.98 * (1 - steep) ** 5, np.float32)


def _mirrored(
    radiance: Floats, heat: Floats, mirror: Floats, view: View, world: World
) -> tuple[Floats, Floats]:
    """Wet ground shows what stands above the horizon, upside down and drawn out by ripples."""
    import cv2

    horizon = view.centre_px[1] - view.focal_px * np.tan(view.pitch_rad)
    rows, columns = np.mgrid[: view.height_px, : view.width_px].astype(np.float32)
    below = np.clip(rows - horizon, 0, None)
    ripple = world.noise.octave(columns * 0.02, rows * 0.05, 0.12, 2) + world.noise.octave(
        columns * 0.02, rows * 0.05, 0.5, 3
    )
    blur = max(3, round(view.height_px * 0.11)) | 1
    source = (
        np.asarray(columns + 1.2 * ripple, np.float32),
        np.asarray(horizon - below + 2.0 * ripple, np.float32),
    )
    found = []
    for image in (radiance, heat):
        drawn_out = cv2.blur(np.ascontiguousarray(image, np.float32), (3, blur))
        found.append(
            np.asarray(cv2.remap(drawn_out, *source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        )
    share = np.clip(mirror * (1 + 0.25 * ripple), 0, 0.85) * (below > 1)
    wet_radiance = radiance * (1 - 0.5 * share[..., None]) + share[..., None] * np.minimum(found[0], 6)
    wet_heat = heat + 0.45 * share * (found[1] - heat)
    return np.asarray(wet_radiance, np.float32), np.asarray(wet_heat, np.float32)


def _bloomed(radiance: Floats) -> Floats:
    """Lamps spread in the lens: what is brighter than white leaves a small and a wide halo."""
    import cv2

    bright = np.clip(radiance - 1.2, 0, 12)
    if not bright.any():
        return radiance
    side = max(radiance.shape[:2])
    small = cv2.GaussianBlur(bright, (0, 0), max(0.6, side * 0.005))
    wide = cv2.resize(bright, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(wide, (0, 0), max(0.5, side * 0.007))
    wide = cv2.resize(wide, (radiance.shape[1], radiance.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(radiance + 0.35 * small + 0.30 * wide, np.float32)
