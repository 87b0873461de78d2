"""Textures with the statistics of nature: sums of octaves on an endless plane of metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_TILE_PX = 256
_LOWEST_CYCLES, _HIGHEST_CYCLES = 16, 40
_PX_PER_WAVELENGTH = 9.0


class Noise:
    """Seeded noise on an endless plane; octaves finer than a pixel fade out instead of aliasing."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._tiles = [_ring_tile(rng) for _ in range(3)]
        self._shifts_px = rng.uniform(0, _TILE_PX, (16, 2)).astype(np.float32)

    def octave(self, u_m: Floats, v_m: Floats, wavelength_m: float, index: int = 0) -> Floats:
        """One octave at the points (u, v): zero mean, unit deviation, float32 of the points' shape (H, W)."""
        import cv2

        scale, turn = _PX_PER_WAVELENGTH / wavelength_m, 1.1 * index
        shift_px = self._shifts_px[index % len(self._shifts_px)]
        along, across = np.float32(scale * np.cos(turn)), np.float32(scale * np.sin(turn))
        x_px = _wrapped(u_m * along + v_m * across + shift_px[0])
        y_px = _wrapped(v_m * along - u_m * across + shift_px[1])
        tile = self._tiles[index % len(self._tiles)]
        return np.asarray(
            cv2.remap(tile, x_px, y_px, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32
        )

    def fractal(
        self,
        u_m: Floats,
        v_m: Floats,
        footprint_m: Floats | float,
        longest_m: float,
        octaves: int,
        gain: float = 0.7,
        index: int = 0,
    ) -> Floats:
        """Octaves from `longest_m` down, each half as long, `gain` times as strong; about unit deviation."""
        total = np.zeros(u_m.shape, np.float32)
        norm = np.sqrt(sum(gain ** (2 * k) for k in range(octaves)))
        finest_footprint_m = float(np.min(footprint_m))
        for k in range(octaves):
            wavelength_m = longest_m / 2**k
            if wavelength_m <= finest_footprint_m:
                break
            fade = np.clip(1.5 - 1.5 * np.asarray(footprint_m, np.float32) / wavelength_m, 0, 1)
            total += np.float32(gain**k / norm) * fade * self.octave(u_m, v_m, wavelength_m, index + k)
        return total


def cell_hash(i: NDArray[np.int32], j: NDArray[np.int32], salt: int) -> Floats:
    """A number in [0, 1) for each cell (i, j), the same wherever and whenever it is asked."""
    mixed = i.astype(np.uint32) * np.uint32(0x9E3779B1) ^ j.astype(np.uint32) * np.uint32(0x85EBCA77)
    mixed = (mixed ^ np.uint32(salt * 0x27D4EB2F & 0xFFFFFFFF)) * np.uint32(0xC2B2AE3D)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    mixed ^= mixed >> np.uint32(13)
    return np.asarray((mixed & np.uint32(0xFFFFFF)) / np.float32(1 << 24), np.float32)


def ramp(inside: NDArray[np.floating], width: NDArray[np.floating] | float) -> Floats:
    """0 where `inside` is well below zero, 1 where well above, rising over `width` between."""
    return np.asarray(np.clip(inside / width + 0.5, 0, 1), np.float32)


def _wrapped(position_px: Floats) -> Floats:
    """Positions modulo the tile: OpenCV's remap holds coordinates in 16 bits."""
    return np.asarray(position_px - np.floor(position_px / _TILE_PX) * np.float32(_TILE_PX), np.float32)


def _ring_tile(rng: np.random.Generator) -> Floats:
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE_PX, _TILE_PX)))
    cycles = np.hypot(np.fft.fftfreq(_TILE_PX)[:, None], np.fft.rfftfreq(_TILE_PX)[None, :]) * _TILE_PX
    spectrum[(cycles < _LOWEST_CYCLES) | (cycles > _HIGHEST_CYCLES)] = 0
    tile = np.fft.irfft2(spectrum, (_TILE_PX, _TILE_PX))
    return np.asarray(tile / tile.std(), np.float32)
