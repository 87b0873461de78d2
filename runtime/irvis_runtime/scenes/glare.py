"""Vehicles' lamps at dusk and at night: glare, streaks on wet asphalt, light on the road."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .actors import Actor, VehicleLamp
from .backdrop import Backdrop
from .noise import Floats
from .shot import Shot, Window
from .world import World

_BEAM_FAR_M = np.array([3.0, 4.5, 6, 8, 10, 12, 14, 17, 20, 24, 30])
_BEAM_SEEN_M = 120.0
_KERNEL_HALF_PX = 64


class Glare:
    """Adds the light of lamps to visible pictures; thermal cameras do not see it."""

    def __init__(self, world: World, backdrop: Backdrop) -> None:
        self._weather, self._backdrop = world.weather, backdrop
        self._eye = np.array(world.view.position_m)
        self._kernel = _glow_kernel()
        # Next to daylight a headlight is faint.
        self._strength = 1 / (1 + 6 * world.weather.ambient_bgr[1])

    def add(self, shot: Shot, visible_hw3: NDArray[np.uint8], actor: Actor, time_s: float) -> None:
        """The light of an actor's lamps."""
        lamps = actor.lamps(time_s)
        if not lamps:
            return
        foot = np.array(actor.ground(time_s)[0])
        if np.linalg.norm(foot - self._eye) < _BEAM_SEEN_M:
            self._light_road(shot, visible_hw3, foot, lamps[0])
        for lamp in lamps:
            self._shine(shot, visible_hw3, lamp)

    def _shine(self, shot: Shot, visible_hw3: NDArray[np.uint8], lamp: VehicleLamp) -> None:
        """The glare around a lamp that faces the camera, and its streak on a wet road."""
        weather, to_eye = self._weather, self._eye - lamp.position_m
        facing = float(lamp.towards @ to_eye / np.linalg.norm(to_eye))
        pixels, depths_m = shot.place(lamp.position_m * np.array([[1, 1, 1], [1, -1, 1]]))
        depth_m = float(depths_m[0])
        if depth_m < 2 or facing <= 0.1:
            return
        strength = lamp.power * facing**4 * float(np.exp(-weather.haze_per_m * depth_m)) * self._strength
        reach = 0.8 / depth_m + 0.09 * min(1.0, 3 * lamp.power)
        radius_px = shot.view.focal_px * reach * (0.4 + 0.6 * strength)
        glow = (1.5 * strength * np.array(lamp.colour_bgr)).astype(np.float32)
        if not self._is_hidden(shot, pixels[0], depth_m):
            self._add_glow(shot, visible_hw3, pixels[0], (radius_px, radius_px), glow)
        if weather.wetness > 0.2:
            streak = np.float32(0.6 * weather.wetness) * glow
            self._add_glow(shot, visible_hw3, pixels[1], (0.22 * radius_px, 1.1 * radius_px), streak)

    def _is_hidden(self, shot: Shot, place_px: NDArray[np.float64], depth_m: float) -> bool:
        x, y = (int(np.clip(place_px[k], 0, shot.size_hw[1 - k] - 1)) for k in (0, 1))
        here = shot.part(self._backdrop.depth_hw, (slice(y, y + 1), slice(x, x + 1)))
        return bool(here[0, 0] < depth_m - 1.5)

    def _add_glow(
        self,
        shot: Shot,
        visible_hw3: NDArray[np.uint8],
        place_px: NDArray[np.float64],
        radius_px: tuple[float, float],
        glow_bgr: Floats,
    ) -> None:
        import cv2

        reach = np.array(radius_px)
        window = shot.window(np.stack([place_px - reach, place_px + reach]))
        if window is None or reach.min() < 0.5 or glow_bgr.max() < 0.01:
            return
        rows, columns = window
        scale = reach / _KERNEL_HALF_PX
        offset = place_px - (columns.start, rows.start) - scale * _KERNEL_HALF_PX
        matrix = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]])
        size = (columns.stop - columns.start, rows.stop - rows.start)
        glow = cv2.warpAffine(
            self._kernel, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
        )
        _screen(visible_hw3, window, np.asarray(glow, np.float32), glow_bgr)

    def _light_road(
        self, shot: Shot, visible_hw3: NDArray[np.uint8], foot: NDArray[np.float64], lamp: VehicleLamp
    ) -> None:
        """A fan of light on what the road reflects, cut off where something stands before it."""
        import cv2

        ahead = lamp.towards
        side = np.array([ahead[2], 0, -ahead[0]]) * (0.75 + 0.13 * _BEAM_FAR_M)[:, None]
        middle = foot + ahead * _BEAM_FAR_M[:, None]
        pixels, depth_m = shot.place(np.stack([middle - side, middle + side], axis=1))
        quads = [k for k in range(len(_BEAM_FAR_M) - 1) if depth_m[k : k + 2].min() > 1.0]
        if not quads:
            return
        shown = np.concatenate([pixels[k : k + 2].reshape(-1, 2) for k in quads])
        soft = float(np.clip(0.06 * np.ptp(shown[:, 0]), 1, 14))
        window = shot.window(shown, grow_px=int(6 * soft) + 2)
        if window is None:
            return
        rows, columns = window
        size = (columns.stop - columns.start, rows.stop - rows.start)
        # At half the resolution: the light has no edges.
        mask = np.zeros((-(-size[1] // 2), -(-size[0] // 2)), np.float32)
        power = np.exp(-(((_BEAM_FAR_M - 4) / 11) ** 2))
        for k in reversed(quads):
            quad = np.concatenate([pixels[k], pixels[k + 1][::-1]]) - (columns.start, rows.start)
            fixed = np.round(np.clip(quad, -8000, 8000) * 8).astype(np.int32)
            cv2.fillConvexPoly(mask, fixed, float(power[k]), shift=4)
        light = np.asarray(cv2.resize(cv2.GaussianBlur(mask, (0, 0), soft), size), np.float32)
        nearest_m = float(depth_m[[quads[0], quads[-1] + 1]].min())
        light *= shot.part(self._backdrop.depth_hw, window) > nearest_m - 1.0
        light *= shot.part(self._backdrop.lightness_hw, window)
        _screen(
            visible_hw3,
            window,
            light,
            np.float32(1.1 * self._strength) * np.array(lamp.colour_bgr, np.float32),
        )


def _screen(visible_hw3: NDArray[np.uint8], window: Window, light_hw: Floats, colour_bgr: Floats) -> None:
    """Adds light (0..1) of one colour as film does: what is white already gains nothing."""
    import cv2

    below = visible_hw3[window]
    planes = [cv2.convertScaleAbs(light_hw, alpha=255 * float(np.clip(share, 0, 2))) for share in colour_bgr]
    gain = cv2.multiply(cv2.bitwise_not(below), cv2.merge(planes), scale=1 / 255)
    visible_hw3[window] = cv2.add(below, gain)


def _glow_kernel() -> Floats:
    """A lamp's glare, peak 1: a core, a halo, faint rays."""
    y, x = (
        np.mgrid[-_KERNEL_HALF_PX : _KERNEL_HALF_PX + 1, -_KERNEL_HALF_PX : _KERNEL_HALF_PX + 1]
        / _KERNEL_HALF_PX
    )
    r = np.hypot(x, y)
    rays = 0.12 * np.exp(-r / 0.25) * np.cos(3 * np.arctan2(y, x)) ** 16
    glow = np.exp(-((r / 0.07) ** 2)) + 0.30 * np.exp(-r / 0.11) + 0.06 * np.exp(-r / 0.32) + rays
    return np.asarray(np.clip(glow, 0, 1) * np.clip((1 - r) / 0.3, 0, 1), np.float32)
