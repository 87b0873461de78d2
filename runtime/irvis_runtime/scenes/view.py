"""The pinhole camera: where a point of the world is in the picture, and where a pixel looks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .noise import Floats

NEAR_M = 0.3


@dataclass(frozen=True)
class View:
    """A camera in a world of metres: x to the right, y up, z ahead; the ground is y = 0."""

    height_px: int
    width_px: int
    focal_px: float
    position_m: tuple[float, float, float]
    pitch_rad: float
    """Downwards from the horizon."""
    yaw_rad: float
    """To the right of z."""

    def scaled(self, factor: int) -> View:
        """The same view with `factor` times as many pixels a side."""
        return replace(
            self,
            height_px=self.height_px * factor,
            width_px=self.width_px * factor,
            focal_px=self.focal_px * factor,
        )

    @property
    def axes(self) -> NDArray[np.float64]:
        """(3, 3): the camera's right, down and forward as rows in world coordinates."""
        sp, cp, sy, cy = (
            np.sin(self.pitch_rad),
            np.cos(self.pitch_rad),
            np.sin(self.yaw_rad),
            np.cos(self.yaw_rad),
        )
        return np.array([[cy, 0, -sy], [-sp * sy, -cp, -sp * cy], [cp * sy, -sp, cp * cy]])

    @property
    def centre_px(self) -> tuple[float, float]:
        """The principal point (x, y); whole numbers are pixel centres."""
        return (self.width_px - 1) / 2, (self.height_px - 1) / 2

    def project(self, points_n3: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (..., 2) as (x, y), and depths (...) along the axis; nearer points are held at NEAR_M."""
        camera = (np.asarray(points_n3, np.float64) - self.position_m) @ self.axes.T
        depth_m = camera[..., 2]
        scale = self.focal_px / np.maximum(depth_m, NEAR_M)
        return camera[..., :2] * scale[..., None] + self.centre_px, depth_m

    def rays(self, window: tuple[slice, slice]) -> tuple[Floats, Floats, Floats]:
        """World directions (x, y, z), each (h, w), through a window's pixels, of unit depth."""
        cx, cy = self.centre_px
        rows = (np.arange(window[0].start, window[0].stop, dtype=np.float32)[:, None] - cy) / self.focal_px
        columns = (np.arange(window[1].start, window[1].stop, dtype=np.float32)[None, :] - cx) / self.focal_px
        right, down, ahead = self.axes
        x, y, z = (
            np.asarray(columns * r + rows * d + a, np.float32)
            for r, d, a in zip(right, down, ahead, strict=True)
        )
        return x, y, z

    def rays_at(self, index: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
        """World directions (x, y, z) through pixels of these flat indices, of unit depth."""
        cx, cy = self.centre_px
        row, column = np.divmod(index.astype(np.int32), np.int32(self.width_px))
        right = (column - np.float32(cx)) / np.float32(self.focal_px)
        down = (row - np.float32(cy)) / np.float32(self.focal_px)
        axes = self.axes.astype(np.float32)
        x, y, z = (np.asarray(right * r + down * d + a, np.float32) for r, d, a in zip(*axes, strict=True))
        return x, y, z


def clipped_near(polygon_n3: NDArray[np.floating], view: View) -> NDArray[np.float64]:
    """The part (m, 3) of a convex polygon in front of the camera; m is 0 where none is."""
    points = np.asarray(polygon_n3, np.float64)
    ahead_m = (points - view.position_m) @ view.axes[2] - NEAR_M
    kept: list[NDArray[np.float64]] = []
    for k in range(len(points)):
        a, b = ahead_m[k - 1], ahead_m[k]
        if (a > 0) != (b > 0):
            kept.append(points[k - 1] + (points[k] - points[k - 1]) * (a / (a - b)))
        if b > 0:
            kept.append(points[k])
    return np.array(kept).reshape(-1, 3)
