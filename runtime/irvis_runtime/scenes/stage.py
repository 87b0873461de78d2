"""Draws the actors of a moment over the still backdrop, as both cameras' optics see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .actors import Actor
from .backdrop import Backdrop
from .faces import Faces, drawn_order, raster
from .glare import Glare
from .noise import Floats
from .shot import Shot, Window
from .world import World, ground_hull

_STEEPEST_MIRROR_RAD = 0.5
"""Seen from more steeply above, wet asphalt mirrors next to nothing."""


_SMALLEST_MIRROR_PX = 6


@dataclass(frozen=True)
class Cutout:
    """An actor as drawn: coverage and face numbers within a window."""

    window: Window
    drawn_hw: Floats
    """How much of each pixel it fills, 0..1."""
    cover_hw: Floats
    """The same, where nothing hides it."""
    face_hw: NDArray[np.int32]
    """Face numbers at twice the resolution, 0 for none."""


class Stage:
    """The backdrop and the actors of one world."""

    def __init__(self, world: World, backdrop: Backdrop) -> None:
        self.world, self.backdrop = world, backdrop
        self.eye = np.array(world.view.position_m)
        self._glare = Glare(world, backdrop)

    def shot(
        self, affine_23: NDArray[np.float64], size_hw: tuple[int, int], bands: str, time_s: float
    ) -> Shot:
        """Everything at one time through a camera that has swayed; `bands` is "v", "i" or "vi"."""
        shot, whole = Shot(self.world.view, affine_23, size_hw), (slice(0, size_hw[0]), slice(0, size_hw[1]))
        if "v" in bands:
            shot.visible_hw3 = shot.part(self.backdrop.visible_hw3, whole)
        if "i" in bands:
            shot.heat_c_hw = shot.part(self.backdrop.infrared_c_hw, whole)
        for actor in self.from_afar(time_s):
            if self._may_show(shot, actor, time_s):
                self._draw(shot, actor, time_s)
            if shot.visible_hw3 is not None:
                self._glare.add(shot, shot.visible_hw3, actor, time_s)
        return shot

    def from_afar(self, time_s: float) -> list[Actor]:
        """The actors, the farthest first."""
        actors = self.world.actors
        away = [float(np.linalg.norm(np.subtract(actor.ground(time_s)[0], self.eye))) for actor in actors]
        return [actors[k] for k in np.argsort(away)[::-1]]

    def cutout(self, shot: Shot, shape: Faces, is_solid: bool) -> Cutout | None:
        """Where a shape shows, or None where it does not."""
        import cv2

        pixels, order = drawn_order(shape, self.world.view, is_solid)
        if len(order) == 0:
            return None
        pixels = shot.moved(pixels)
        window = shot.window(pixels[order].reshape(-1, 2))
        if window is None:
            return None
        rows, columns = window
        fine = (slice(2 * rows.start, 2 * rows.stop), slice(2 * columns.start, 2 * columns.stop))
        face = raster(2 * pixels + 0.5, order, fine)
        size = (columns.stop - columns.start, rows.stop - rows.start)
        drawn = cv2.resize((face > 0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        _, depth_m = self.world.view.project(shape.centres_n3)
        behind = shot.part(self.backdrop.depth_hw, window) > float(depth_m.min()) - 0.4
        return Cutout(window, np.asarray(drawn), np.asarray(drawn * behind, np.float32), face)

    def _may_show(self, shot: Shot, actor: Actor, time_s: float) -> bool:
        """Whether a generous circle around the actor touches the shot."""
        place, _, width_m, length_m = actor.ground(time_s)
        pixels, depth_m = shot.place(np.array([place]))
        reach_m = 1.5 + width_m + length_m
        if depth_m[0] < reach_m:
            return bool(depth_m[0] > -reach_m)
        reach_px = reach_m * shot.view.focal_px / (depth_m[0] - reach_m + 0.5)
        return shot.window(pixels, int(min(reach_px, 1e5)) + 1) is not None

    def _draw(self, shot: Shot, actor: Actor, time_s: float) -> None:
        shape = actor.faces(time_s, self.eye)
        cutout = self.cutout(shot, shape, actor.is_solid)
        if cutout is None:
            return
        self._stain_ground(shot, actor, shape, time_s)
        radiance, heat = self._lit(shape)
        own = [(shot.heat_c_hw, heat[:, None]), (shot.visible_hw3, self.world.weather.developed(radiance))]
        for image, values in own:
            if image is not None:
                filled = _filled(cutout, values)
                if self.world.weather.wetness > 0 and self.world.view.pitch_rad < _STEEPEST_MIRROR_RAD:
                    self._mirror(shot, image, cutout, filled)
                _mix(image, cutout.window, filled, cutout.cover_hw)

    def _lit(self, shape: Faces) -> tuple[Floats, Floats]:
        """Radiance (n, 3) and apparent temperature (n,) of each face where it is."""
        weather, middle = self.world.weather, shape.centres_n3.mean(axis=0)
        sun = np.float32(self.world.sun_share(float(middle[0]), float(middle[2])))
        light = weather.sky_light_bgr(shape.sun_n * sun, shape.ambient_n)
        light = light + shape.ambient_n[:, None] * weather.lamp_light_bgr(middle)
        depth = np.maximum(self.world.view.project(shape.centres_n3)[1], 0).astype(np.float32)
        radiance = weather.through_air(shape.albedo_n3 * light + shape.glow_n3, depth)
        return radiance, weather.heat_through_air(shape.temperature_n, depth)

    def _stain_ground(self, shot: Shot, actor: Actor, shape: Faces, time_s: float) -> None:
        """Darkens the ground below and in the shadow of an actor, and warms it below an engine."""
        weather = self.world.weather
        (x, _, z), heading, width_m, length_m = actor.ground(time_s)
        ahead = np.array([np.sin(heading), 0, np.cos(heading)])
        right = np.array([np.cos(heading), 0, -np.sin(heading)])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width_m * 0.52, length_m * 0.51]
        below = np.array([x, 0, z]) + corners[:, :1] * right + corners[:, 1:] * ahead
        brightness = weather.ambient_bgr[1] + weather.sun_bgr[1] * weather.to_sun[1]
        warm_c = 1.6 if actor.is_solid else 0.2
        self._stain(shot, below, 0.55 * float(np.clip(brightness * 4, 0.35, 1)), warm_c)
        sun = weather.sun_bgr[1] * weather.to_sun[1] * self.world.sun_share(float(x), float(z))
        share = sun / (sun + weather.ambient_bgr[1])
        if share > 0.15:
            points = shape.corners_n43.reshape(-1, 3)
            slope = np.array(weather.to_sun) / weather.to_sun[1]
            self._stain(shot, ground_hull(points - points[:, 1:2] * slope), 0.75 * share, 0.0)

    def _stain(self, shot: Shot, polygon_n3: NDArray[np.floating], dark: float, heat_c: float) -> None:
        import cv2

        pixels, depth_m = shot.place(polygon_n3)
        if depth_m.min() < 0.5:
            return
        soft = float(np.clip(0.04 * np.ptp(pixels[:, 0]), 0.6, 6))
        window = shot.window(pixels, grow_px=int(3 * soft) + 1)
        if window is None:
            return
        rows, columns = window
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        fixed = np.round(np.clip(pixels - (columns.start, rows.start), -8000, 8000) * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, fixed, 1.0, lineType=cv2.LINE_8, shift=4)
        is_open = shot.part(self.backdrop.depth_hw, window) > float(depth_m.min()) - 1.0
        clear = float(np.exp(-self.world.weather.haze_per_m * max(float(depth_m.min()), 0)))
        cover = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.float32) * is_open
        if shot.heat_c_hw is not None and heat_c:
            shot.heat_c_hw[window] += cover * np.float32(heat_c)
        if shot.visible_hw3 is not None:
            kept = cv2.bitwise_not(cv2.convertScaleAbs(cover, alpha=255 * dark * clear))
            shot.visible_hw3[window] = cv2.multiply(
                shot.visible_hw3[window], cv2.merge([kept] * 3), scale=1 / 255
            )

    def _mirror(self, shot: Shot, image: NDArray[Any], cutout: Cutout, filled: Floats) -> None:
        """Lays the actor upside down on the wet road below its feet, drawn out downwards.

        Turning the picture over is exact for what is upright and at one depth.
        """
        import cv2

        rows, columns = cutout.window
        height = min(rows.stop - rows.start, shot.size_hw[0] - rows.stop)
        if height < _SMALLEST_MIRROR_PX:
            return
        window = (slice(rows.stop - 1, rows.stop - 1 + height), columns)
        kernel = (1 + 2 * (height // 100), 1 + 2 * (height // 9))
        drawn = np.ascontiguousarray(cutout.drawn_hw[::-1][:height])
        turned = np.ascontiguousarray(
            filled[::-1][:height] * (drawn if filled.ndim == 2 else drawn[..., None])
        )
        cover = np.asarray(cv2.blur(drawn, kernel), np.float32)
        full = np.maximum(cover, np.float32(1e-3))
        smeared = np.asarray(cv2.blur(turned, kernel), np.float32)
        smeared /= full if filled.ndim == 2 else full[..., None]
        mirror = shot.part(self.backdrop.wet_hw, window).astype(np.float32) / 255
        _mix(image, window, smeared, (0.75 if filled.ndim == 3 else 0.45) * mirror * cover)


def _filled(cutout: Cutout, values_nc: Floats) -> Floats:
    """The faces' values in the window, (h, w) or (h, w, 3), as if they filled every pixel they touch."""
    import cv2

    rows, columns = cutout.window
    table = np.concatenate([np.zeros((1, values_nc.shape[1]), np.float32), values_nc.astype(np.float32)])
    size = (columns.stop - columns.start, rows.stop - rows.start)
    mixed = np.asarray(cv2.resize(table[cutout.face_hw], size, interpolation=cv2.INTER_AREA), np.float32)
    full = np.maximum(cutout.drawn_hw, np.float32(1e-3))
    return np.asarray(mixed / (full if mixed.ndim == 2 else full[..., None]), np.float32)


def _mix(image: NDArray[Any], window: Window, over: Floats, cover_hw: NDArray[np.floating]) -> None:
    """Lays `over` on the window of `image` where `cover_hw` (0..1) says so."""
    below = image[window].astype(np.float32)
    below += (cover_hw if below.ndim == 2 else cover_hw[..., None]) * (over - below)
    if image.dtype == np.uint8:
        below = np.clip(below + 0.5, 0, 255)
    image[window] = below.astype(image.dtype)
