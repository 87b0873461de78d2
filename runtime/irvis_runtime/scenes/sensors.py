"""The two cameras behind the optics: noise, fixed patterns, and how heat becomes grey levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .noise import Floats

_TILE_MARGIN_PX = 61
KELVIN_OFFSET = 273.15
COUNTS_PER_KELVIN = 100.0
"""Radiometric counts are hundredths of a kelvin, as FLIR's TLinear high-resolution mode gives them."""


class ThermalCamera:
    """An uncooled microbolometer: blur of its optics, fixed pattern, temporal noise, one grey window.

    `lift` bends the grey scale: 0 is linear, 1 is the square root, which shows more of what is cold.
    """

    def __init__(
        self, size_hw: tuple[int, int], window_c: tuple[float, float], lift: float, rng: np.random.Generator
    ) -> None:
        height, width = size_hw
        self._window_c, self._lift = window_c, lift
        self._blur_px = float(rng.uniform(0.55, 0.95)) * max(size_hw) / 640
        self._netd_c = float(rng.uniform(0.04, 0.12))
        columns_c = rng.normal(0, float(rng.uniform(0.02, 0.10)), (1, width))
        pixels_c = rng.normal(0, 0.03, (height, width))
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        vignette_c = float(rng.uniform(-0.9, 0.4)) * (x * x + y * y) / 2
        self._pattern_c = np.asarray(columns_c + pixels_c + vignette_c, np.float32)
        self._noise = _noise_tile(size_hw, rng, channels=1)

    def seen(self, heat_c_hw: Floats, tick: int) -> Floats:
        """Temperatures (h, w) as measured: blurred, with pattern and the noise of this tick."""
        import cv2

        blurred = heat_c_hw
        if self._blur_px > 0.25:
            blurred = np.asarray(cv2.GaussianBlur(heat_c_hw, (0, 0), self._blur_px), np.float32)
        noise = _cut(self._noise, heat_c_hw.shape[0], heat_c_hw.shape[1], tick)
        return np.asarray(cv2.scaleAdd(noise, self._netd_c, cv2.add(blurred, self._pattern_c)), np.float32)

    def grey(self, measured_c_hw: Floats) -> NDArray[np.uint8]:
        """Grey levels (h, w): white is hot; what is outside the window is clipped."""
        import cv2

        low, high = self._window_c
        share = cv2.addWeighted(measured_c_hw, 1 / (high - low), measured_c_hw, 0.0, -low / (high - low))
        lifted = cv2.sqrt(np.maximum(share, 0))
        grey = cv2.addWeighted(share, 255 * (1 - self._lift), lifted, 255 * self._lift, 0.0, dtype=cv2.CV_8U)
        return np.asarray(grey, np.uint8)

    def counts(self, measured_c_hw: Floats) -> NDArray[np.uint16]:
        """Radiometric counts (h, w): hundredths of a kelvin."""
        counts = (measured_c_hw + np.float32(KELVIN_OFFSET)) * np.float32(COUNTS_PER_KELVIN)
        return np.asarray(np.clip(np.rint(counts), 0, 65535), np.uint16)


class VisibleCamera:
    """A colour camera: slight blur, shading towards the corners, noise with some colour in it."""

    def __init__(self, size_hw: tuple[int, int], grain: float, rng: np.random.Generator) -> None:
        height, width = size_hw
        y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
        shading = 1 - float(rng.uniform(0.04, 0.16)) * (x * x + y * y) / 2
        self._shading = np.repeat(np.asarray(shading * 255, np.uint8)[..., None], 3, axis=2)
        colour = _noise_tile(size_hw, rng, channels=3)
        luma = _noise_tile(size_hw, rng, channels=1)[..., None]
        self._noise = np.rint(grain * (0.85 * luma + 0.5 * colour)).astype(np.int16)

    def seen(self, visible_hw3: NDArray[np.uint8], tick: int) -> NDArray[np.uint8]:
        """The picture (h, w, 3) with shading and the noise of this tick."""
        import cv2

        shaded = cv2.multiply(visible_hw3, self._shading, scale=1 / 255)
        noise = _cut(self._noise, visible_hw3.shape[0], visible_hw3.shape[1], tick)
        return np.asarray(cv2.add(shaded, noise, dtype=cv2.CV_8U), np.uint8)


def _noise_tile(size_hw: tuple[int, int], rng: np.random.Generator, channels: int) -> Floats:
    """Unit noise, larger than the picture, so that each frame can cut out another part; slightly blurred."""
    import cv2

    shape = (size_hw[0] + _TILE_MARGIN_PX, size_hw[1] + _TILE_MARGIN_PX, channels)
    noise = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (3, 3), 0.5)
    noise = np.asarray(noise, np.float32).reshape(shape)
    return (
        np.squeeze(noise / noise.std(), axis=2)
        if channels == 1
        else np.asarray(noise / noise.std(), np.float32)
    )


def _cut(tile: NDArray[Any], height: int, width: int, tick: int) -> NDArray[Any]:
    """The part of the tile that belongs to a tick."""
    mixed = (tick * 2654435761 + 97) & 0xFFFFFFFF
    mixed ^= mixed >> 15
    y, x = mixed % _TILE_MARGIN_PX, mixed // 64 % _TILE_MARGIN_PX
    return np.ascontiguousarray(tile[y : y + height, x : x + width])
