"""The materials of a still scene pixel by pixel, painted from back to front, lit afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .faces import Faces, drawn_order, raster
from .noise import Floats
from .view import View, clipped_near

FAR_M = 4000.0
Indices = NDArray[np.intp]
_BLOCK = 1024
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass
class Paint:
    """What a surface is made of at each point of a block (h, w)."""

    albedo_hw3: Floats
    temperature_hw: Floats
    sun_hw: Floats
    ambient_hw: Floats
    glow_hw3: Floats
    wet_hw: Floats

    @classmethod
    def plain(cls, like: Floats, temperature_c: float, sun: float, ambient: float) -> Paint:
        """Black paint of one warmth and light, of the shape of `like`, to be filled in."""
        colour = np.zeros((*like.shape, 3), np.float32)
        heat, light, sky = (np.full(like.shape, value, np.float32) for value in (temperature_c, sun, ambient))
        return cls(colour, heat, light, sky, colour.copy(), np.zeros(like.shape, np.float32))


PaintSurface = Callable[[Floats, Floats, Floats], Paint]
"""Paints points (u, v) in metres of which a pixel covers `footprint` metres; all are blocks (h, w)."""


class Canvas:
    """Buffers of one view; each painting covers what is farther away."""

    def __init__(self, view: View) -> None:
        self.view = view
        shape = (view.height_px, view.width_px)
        self.albedo_hw3 = np.zeros((*shape, 3), np.float32)
        self.glow_hw3 = np.zeros((*shape, 3), np.float32)
        self.temperature_hw = np.zeros(shape, np.float32)
        self.sun_hw = np.zeros(shape, np.float32)
        self.ambient_hw = np.zeros(shape, np.float32)
        self.wet_hw = np.zeros(shape, np.float32)
        self.depth_hw = np.full(shape, FAR_M, np.float32)

    @property
    def whole(self) -> tuple[slice, slice]:
        """The window that is the whole canvas."""
        return slice(0, self.view.height_px), slice(0, self.view.width_px)

    def above_ground(self, up_to: float = np.inf) -> Indices:
        """Blocks of flat indices of the rows above the horizon, but not higher than the slope `up_to`."""
        _, y, _ = self.view.rays((slice(0, self.view.height_px), slice(0, 1)))
        lowest = -self.view.position_m[1] / FAR_M - 2 / self.view.focal_px
        rows = np.flatnonzero((y[:, 0] > lowest) & (y[:, 0] < up_to * 1.2))
        if len(rows) == 0:
            return np.zeros((0, 0), np.intp)
        return blocks(np.arange(int(rows[0]) * self.view.width_px, (int(rows[-1]) + 1) * self.view.width_px))

    def ground(self, paint: PaintSurface) -> None:
        """Paints the plane y = 0 up to the horizon; `paint` gets the world's x and z."""
        eye_x, eye_y, eye_z = self.view.position_m
        _, y, _ = self.view.rays((slice(0, self.view.height_px), slice(0, 1)))
        rows = np.flatnonzero(-y[:, 0] > eye_y / FAR_M)
        if len(rows) == 0:
            return
        first = int(rows[0]) * self.view.width_px
        pixels = np.arange(first, (int(rows[-1]) + 1) * self.view.width_px)
        # Bands, so that a large canvas needs no large temporary arrays.
        for band in np.array_split(pixels, max(1, len(pixels) // 400_000)):
            index = blocks(band)
            x, y, z = self.view.rays_at(index)
            depth = np.asarray(eye_y / -y, np.float32)
            # Geometric mean of the footprints across and along: the longer alone leaves a dull road.
            footprint = depth / np.float32(self.view.focal_px) * np.sqrt(np.clip(depth / eye_y, 1, 60))
            self._put(
                index, depth, paint(eye_x + depth * x, eye_z + depth * z, np.asarray(footprint, np.float32))
            )

    def plane(
        self,
        origin_m: NDArray[np.floating],
        u_m: NDArray[np.floating],
        v_m: NDArray[np.floating],
        paint: PaintSurface,
        outline_uv: NDArray[np.floating] | None = None,
    ) -> None:
        """Paints the rectangle that the edges `u_m` and `v_m` span from `origin_m`.

        Or only the convex `outline_uv` within it: (n, 2), in shares of the edges.
        """
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) if outline_uv is None else outline_uv
        inside = self._polygon(clipped_near(origin_m + unit[:, :1] * u_m + unit[:, 1:] * v_m, self.view))
        if len(inside) == 0:
            return
        normal, offset = np.cross(u_m, v_m), np.asarray(origin_m) - self.view.position_m
        x, y, z = self.view.rays_at(inside)
        towards = normal[0] * x + normal[1] * y + normal[2] * z
        depth = float(normal @ offset) / np.where(np.abs(towards) < 1e-6, 1e-6, towards)
        depth = np.asarray(np.clip(depth, 0.05, FAR_M), np.float32)
        seen = depth < self.depth_hw.ravel()[inside]
        if not seen.any():
            return
        index, depth_hw = blocks(inside[seen]), blocks(np.asarray(depth[seen], np.float32))
        x, y, z = self.view.rays_at(index)
        e, f = u_m / np.linalg.norm(u_m), v_m / np.linalg.norm(v_m)
        u = np.asarray(depth_hw * (x * e[0] + y * e[1] + z * e[2]) - float(offset @ e), np.float32)
        v = np.asarray(depth_hw * (x * f[0] + y * f[1] + z * f[2]) - float(offset @ f), np.float32)
        footprint = np.asarray(depth_hw / self.view.focal_px, np.float32)
        self._put(index, depth_hw, paint(u, v, footprint))

    def faces(self, shape: Faces, one_sided: bool = False) -> None:
        """Draws faces that are in front of what is there."""
        pixels, order = drawn_order(shape, self.view, one_sided)
        if len(order) == 0:
            return
        window = self._window(pixels[order].reshape(-1, 2))
        if window is None:
            return
        shown = raster(pixels, order, window)
        _, depth_n = self.view.project(shape.centres_n3)
        rows, columns = np.nonzero(shown)
        face = shown[rows, columns] - 1
        index = (rows + window[0].start) * self.view.width_px + columns + window[1].start
        seen = depth_n[face] < self.depth_hw.ravel()[index]
        face, index = face[seen], index[seen]
        paint = Paint(
            shape.albedo_n3[face],
            shape.temperature_n[face],
            shape.sun_n[face],
            shape.ambient_n[face],
            shape.glow_n3[face],
            np.zeros(len(face), np.float32),
        )
        self._put(index, depth_n[face].astype(np.float32), paint)

    def backmost(self, index: Indices, radiance_3: Floats, temperature_c: Floats) -> None:
        """Fills pixels with light and heat that come from behind everything."""
        self.glow_hw3.reshape(-1, 3)[index] = radiance_3
        self.temperature_hw.ravel()[index] = temperature_c

    def distant(self, index: Indices, depth_m: float, paint: Paint) -> None:
        """Paints pixels at one depth."""
        self._put(index, np.full(index.shape, depth_m, np.float32), paint)

    def shade_ground(
        self, polygons: Sequence[NDArray[np.floating]], keep_sun: float, keep_ambient: float, heat_c: float
    ) -> None:
        """Darkens and warms, once, what convex shadows on the ground cover."""
        shadow = np.zeros(self.depth_hw.size, np.bool_)
        for polygon in polygons:
            shadow[self._polygon(clipped_near(polygon, self.view))] = True
        inside = np.flatnonzero(shadow)
        self.sun_hw.ravel()[inside] *= np.float32(keep_sun)
        self.ambient_hw.ravel()[inside] *= np.float32(keep_ambient)
        self.temperature_hw.ravel()[inside] += np.float32(heat_c)

    def _polygon(self, polygon_n3: NDArray[np.float64]) -> Indices:
        """Flat indices of the pixels inside a convex polygon that lies in front of the camera."""
        import cv2

        window = None
        if len(polygon_n3) >= 3:
            pixels, _ = self.view.project(polygon_n3)
            window = self._window(pixels)
        if window is None:
            return np.zeros(0, np.intp)
        mask = np.zeros((window[0].stop - window[0].start, window[1].stop - window[1].start), np.uint8)
        fixed = np.round(np.clip(pixels - (window[1].start, window[0].start), -60000, 60000) * 16).astype(
            np.int32
        )
        cv2.fillConvexPoly(mask, fixed, 1.0, lineType=cv2.LINE_8, shift=4)
        rows, columns = np.nonzero(mask)
        return np.asarray((rows + window[0].start) * self.view.width_px + columns + window[1].start)

    def _window(self, pixels_n2: NDArray[np.float64]) -> tuple[slice, slice] | None:
        size = (self.view.width_px, self.view.height_px)
        x0, y0 = np.clip(np.floor(pixels_n2.min(axis=0)) - 1, 0, size).astype(int)
        x1, y1 = np.clip(np.ceil(pixels_n2.max(axis=0)) + 2, 0, size).astype(int)
        return (slice(int(y0), int(y1)), slice(int(x0), int(x1))) if x1 > x0 and y1 > y0 else None

    def _put(self, index: Indices, depth: Floats, paint: Paint) -> None:
        self.albedo_hw3.reshape(-1, 3)[index] = paint.albedo_hw3
        self.glow_hw3.reshape(-1, 3)[index] = paint.glow_hw3
        self.temperature_hw.ravel()[index] = paint.temperature_hw
        self.sun_hw.ravel()[index] = paint.sun_hw
        self.ambient_hw.ravel()[index] = paint.ambient_hw
        self.wet_hw.ravel()[index] = paint.wet_hw
        self.depth_hw.ravel()[index] = depth


def blocks(values_n: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """A list of one value or more as rows of equal length, as OpenCV needs them; the last value fills."""
    if len(values_n) <= _BLOCK:
        return values_n[None]
    fill = -len(values_n) % _BLOCK
    return np.concatenate([values_n, np.repeat(values_n[-1:], fill)]).reshape(-1, _BLOCK)
