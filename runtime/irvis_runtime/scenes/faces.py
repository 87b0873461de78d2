"""Flat faces in space with a colour and a temperature each: vehicles, people, leaves, posts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .noise import Floats
from .view import NEAR_M, View

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Faces:
    """Quadrilaterals in world metres, drawn from back to front; triangles repeat a corner."""

    corners_n43: Floats
    albedo_n3: Floats
    """Linear reflectance, blue first."""
    glow_n3: Floats
    """Linear radiance of its own."""
    temperature_n: Floats
    """Deg C."""
    sun_n: Floats
    """Share of the sun's light, 0..1: shadow and angle together."""
    ambient_n: Floats
    """Share of the sky's light, 0..1."""
    bias_n: Floats
    """Metres towards the camera in the order of drawing: marks on a surface lie over it."""
    anchor_n3: Floats
    """The point whose depth decides the order of drawing: the face's own middle, or its group's."""

    def __len__(self) -> int:
        return len(self.corners_n43)

    def placed(self, position_m: Sequence[float], heading_rad: float = 0.0) -> Faces:
        """The faces turned about y (to the right if positive), then moved to `position_m`."""
        s, c = np.sin(heading_rad), np.cos(heading_rad)
        turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        offset = np.asarray(position_m)
        return replace(
            self,
            corners_n43=np.asarray(self.corners_n43 @ turn + offset, np.float32),
            anchor_n3=np.asarray(self.anchor_n3 @ turn + offset, np.float32),
        )

    @property
    def normals_n3(self) -> Floats:
        """Unit normals, outwards where the corners run counter-clockwise; zero for a face without area."""
        c = self.corners_n43
        normal = np.cross(c[:, 3] - c[:, 1], c[:, 2] - c[:, 0])
        return np.asarray(
            normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9), np.float32
        )

    @property
    def centres_n3(self) -> Floats:
        """The mean of each face's corners."""
        return np.asarray(self.corners_n43.mean(axis=1), np.float32)


def faces(
    corners: NDArray[np.floating],
    albedo: NDArray[np.floating] | Sequence[float],
    temperature_c: NDArray[np.floating] | float,
    glow: NDArray[np.floating] | Sequence[float] = (0.0, 0.0, 0.0),
    sun: NDArray[np.floating] | float = 0.0,
    ambient: NDArray[np.floating] | float = 1.0,
    bias_m: float = 0.0,
    is_group: bool = False,
) -> Faces:
    """Faces from corners (n, 4, 3) or (4, 3), with one value for all or one each; a group is drawn as one."""
    quads = np.asarray(corners, np.float32).reshape(-1, 4, 3)
    n = len(quads)

    def each(value: NDArray[np.floating] | Sequence[float] | float, *shape: int) -> Floats:
        values = np.empty((n, *shape), np.float32)
        values[...] = value
        return values

    anchor = each(quads.mean(axis=(0, 1)), 3) if is_group else quads.mean(axis=1)
    return Faces(
        quads,
        each(albedo, 3),
        each(glow, 3),
        each(temperature_c),
        each(sun),
        each(ambient),
        each(bias_m),
        anchor,
    )


def joined(parts: Sequence[Faces]) -> Faces:
    """All parts as one."""
    names = Faces.__dataclass_fields__
    return Faces(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def drawn_order(
    shape: Faces, view: View, one_sided: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Pixels (n, 4, 2) of all faces, and the indices of those to draw, farthest first.

    With `one_sided`, a face whose corners run clockwise in the picture faces away and is left out.
    """
    pixels, depth_m = view.project(shape.corners_n43)
    diagonal_a, diagonal_b = pixels[:, 2] - pixels[:, 0], pixels[:, 3] - pixels[:, 1]
    area = diagonal_a[:, 0] * diagonal_b[:, 1] - diagonal_a[:, 1] * diagonal_b[:, 0]
    shown = depth_m.min(axis=1) > NEAR_M
    if one_sided:
        shown &= area < 0
    _, anchor_m = view.project(shape.anchor_n3)
    order = np.argsort(shape.bias_n - anchor_m, kind="stable")
    return pixels, order[shown[order]]


def raster(
    pixels_n42: NDArray[np.float64], order: NDArray[np.intp], window: tuple[slice, slice]
) -> NDArray[np.int32]:
    """Which face each pixel of `window` shows, (h, w): index + 1, or 0 for none."""
    import cv2

    height, width = window[0].stop - window[0].start, window[1].stop - window[1].start
    shown = np.zeros((height, width), np.int32)
    low, high = pixels_n42.min(axis=1), pixels_n42.max(axis=1)
    inside = (high[:, 0] >= window[1].start) & (low[:, 0] <= window[1].stop)
    inside &= (high[:, 1] >= window[0].start) & (low[:, 1] <= window[0].stop)
    shift = 1 << _SUBPIXEL_BITS
    origin = (window[1].start, window[0].start)
    fixed = np.round(np.clip(pixels_n42 - origin, -8000, 8000) * shift).astype(np.int32)
    for k in order[inside[order]]:
        cv2.fillConvexPoly(shown, fixed[k], float(k + 1), lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
    return shown
