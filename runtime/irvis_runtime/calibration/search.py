"""The coarse place of the infrared picture on the visible one: every zoom, turn and shift is tried."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv

from .fit import corners_of, mapped
from .structure import orientation_map

Size = tuple[int, int]
PicturePair = tuple[NDArray[np.uint8], NDArray[np.uint8]]

SIDE_PX = 144
"""Longer side of the visible picture in the search."""
SIGMA_PX, SURROUND_PX = 1.0, 12.0
ZOOMS = tuple(float(zoom) for zoom in np.exp(np.arange(math.log(0.35), math.log(1.5), 0.05)))
"""Infrared field of view over the visible one."""
TURNS_DEG = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0)
MIN_OVERLAP = 0.5
"""Of the narrower of the two views."""


@dataclass(frozen=True)
class Placement:
    """A place that was tried: infrared pixels -> visible pixels, and how well the structure agrees there.

    `significance`: normalised correlation times the square root of the pixels that it was taken over.
    """

    homography_33: NDArray[np.float64]
    significance: float


def search(pairs: Sequence[PicturePair]) -> list[Placement]:
    """Returns one placement for each zoom and turn, the most significant first.

    The pairs are (infrared, visible) uint8 of one rig, all of one size each; their evidence is added up.
    """
    infrared_hw, visible_hw = _size(pairs[0][0]), _size(pairs[0][1])
    factor = SIDE_PX / max(visible_hw)
    small_hw = (max(round(visible_hw[0] * factor), 8), max(round(visible_hw[1] * factor), 8))
    grow_33 = _resize_matrix(small_hw, visible_hw)
    maps = [orientation_map(_shrunk(visible, small_hw), SIGMA_PX, SURROUND_PX) for _, visible in pairs]
    placements = []
    for zoom in ZOOMS:
        scale = zoom * min(small_hw[0] / infrared_hw[0], small_hw[1] / infrared_hw[1])
        size_hw = (math.ceil(infrared_hw[0] * scale), math.ceil(infrared_hw[1] * scale))
        correlator = _Correlator(maps, small_hw, size_hw)
        for turn_deg in TURNS_DEG:
            turn_33 = _turned(infrared_hw, size_hw, scale, turn_deg)
            significance, shift = correlator.best([infrared for infrared, _ in pairs], turn_33)
            shift_33 = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
            placements.append(Placement(grow_33 @ shift_33 @ turn_33, significance))
    return sorted(placements, key=lambda placement: -placement.significance)


def distinct(placements: Sequence[Placement], infrared_hw: Size, visible_hw: Size) -> Iterator[Placement]:
    """Yields the placements whose corners lie more than 8 % of the width from those of all better ones."""
    kept: list[NDArray[np.float64]] = []
    for placement in placements:
        corners_42 = mapped(placement.homography_33, corners_of(infrared_hw))
        distances = [float(np.linalg.norm(corners_42 - other, axis=1).mean()) for other in kept]
        if min(distances, default=math.inf) > 0.08 * visible_hw[1]:
            kept.append(corners_42)
            yield placement


class _Correlator:
    """Correlates turned infrared maps with the visible ones at every shift at once, by Fourier transforms."""

    def __init__(self, maps: Sequence[NDArray[np.float32]], visible_hw: Size, infrared_hw: Size) -> None:
        cv2 = opencv()
        self._infrared_hw, self._visible_hw = infrared_hw, visible_hw
        self._shape = tuple(
            cv2.getOptimalDFTSize(a + b) for a, b in zip(visible_hw, infrared_hw, strict=True)
        )
        self._spectra = [
            (self._spectrum(map_hw2), self._spectrum(_two(np.sum(map_hw2**2, axis=2)))) for map_hw2 in maps
        ]
        self._everywhere = self._spectrum(_two(np.ones(visible_hw, np.float32)))

    def best(
        self, infrared: Sequence[NDArray[np.uint8]], turn_33: NDArray[np.float64]
    ) -> tuple[float, tuple[int, int]]:
        """The highest significance over all shifts, and that shift in x and y."""
        cv2 = opencv()
        rows, columns = self._infrared_hw
        view_hw = cv2.warpAffine(np.ones(infrared[0].shape, np.float32), turn_33[:2], (columns, rows))
        view_hw = (cv2.erode(view_hw, np.ones((5, 5)), borderValue=0) > 0.99).astype(np.float32)
        view = self._spectrum(_two(view_hw))
        overlap = self._at_shifts(self._everywhere, view)[..., 0]
        product = energy_visible = energy_infrared = np.zeros(self._shape, np.float32)
        for picture_hw, spectra in zip(infrared, self._spectra, strict=True):
            turned_hw2 = _turned_map(picture_hw, turn_33, (columns, rows)) * view_hw[..., None]
            sums = self._zero_mean_sums(spectra, turned_hw2, view, np.maximum(overlap, 1.0))
            product, energy_visible, energy_infrared = (
                total + more
                for total, more in zip((product, energy_visible, energy_infrared), sums, strict=True)
            )
        least = MIN_OVERLAP * min(float(view_hw.sum()), float(np.prod(self._visible_hw)))
        scale = np.sqrt(np.maximum(energy_visible, 1e-3) * np.maximum(energy_infrared, 1e-3))
        significance = np.where(overlap >= least, product / scale * np.sqrt(np.maximum(overlap, 0)), -1.0)
        y, x = divmod(int(np.argmax(significance)), self._shape[1])
        shift = (
            x - self._shape[1] * (x >= self._visible_hw[1]),
            y - self._shape[0] * (y >= self._visible_hw[0]),
        )
        return float(significance[y, x]), shift

    def _zero_mean_sums(
        self,
        visible: tuple[NDArray[np.float32], NDArray[np.float32]],
        turned_hw2: NDArray[np.float32],
        view: NDArray[np.float32],
        area: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Product and both energies over the overlap, less what their means there give, for every shift.

        Without the means two pictures of mostly level edges would agree wherever they overlap.
        """
        map_spectrum, energy_spectrum = visible
        turned = self._spectrum(turned_hw2)
        energy = self._spectrum(_two(np.sum(turned_hw2**2, axis=2)))
        visible_sum = self._at_shifts(map_spectrum, view)
        infrared_sum = self._at_shifts(self._everywhere, turned) * np.array([1, -1], np.float32)
        product = self._at_shifts(map_spectrum, turned)[..., 0]
        energy_visible = self._at_shifts(energy_spectrum, view)[..., 0]
        energy_infrared = self._at_shifts(self._everywhere, energy)[..., 0]
        return (
            product - np.sum(visible_sum * infrared_sum, axis=2) / area,
            energy_visible - np.sum(visible_sum**2, axis=2) / area,
            energy_infrared - np.sum(infrared_sum**2, axis=2) / area,
        )

    def _spectrum(self, complex_hw2: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.zeros((*self._shape, 2), np.float32)
        padded[: complex_hw2.shape[0], : complex_hw2.shape[1]] = complex_hw2
        spectrum: NDArray[np.float32] = opencv().dft(padded)
        return spectrum

    @staticmethod
    def _at_shifts(visible: NDArray[np.float32], infrared: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum over pixels of visible times conjugate infrared, for every shift of the infrared one."""
        cv2 = opencv()
        product = cv2.mulSpectrums(visible, infrared, 0, conjB=True)
        sums: NDArray[np.float32] = cv2.dft(product, flags=cv2.DFT_INVERSE | cv2.DFT_SCALE)
        return sums


def _turned_map(
    picture_hw: NDArray[np.uint8], turn_33: NDArray[np.float64], size: Size
) -> NDArray[np.float32]:
    cv2 = opencv()
    scale = math.hypot(turn_33[0, 0], turn_33[1, 0])
    if scale < 1:
        # What a coarser sensor would have averaged; its own half a pixel is there already.
        picture_hw = cv2.GaussianBlur(picture_hw, (0, 0), 0.45 * math.sqrt(1 / scale**2 - 1) + 1e-3)
    small_hw = cv2.warpAffine(picture_hw, turn_33[:2], size, borderMode=cv2.BORDER_REPLICATE)
    return orientation_map(small_hw, SIGMA_PX, SURROUND_PX)


def _turned(infrared_hw: Size, size_hw: Size, scale: float, turn_deg: float) -> NDArray[np.float64]:
    """Infrared pixels -> those of a picture of `size_hw`, scaled and turned about the middle."""
    angle = math.radians(turn_deg)
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    matrix_33 = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    middles = [np.array([(columns - 1) / 2, (rows - 1) / 2]) for rows, columns in (infrared_hw, size_hw)]
    matrix_33[:2, 2] = middles[1] - matrix_33[:2, :2] @ middles[0]
    return matrix_33


def _resize_matrix(from_hw: Size, to_hw: Size) -> NDArray[np.float64]:
    scale_y, scale_x = to_hw[0] / from_hw[0], to_hw[1] / from_hw[1]
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])


def _shrunk(picture_hw: NDArray[np.uint8], size_hw: Size) -> NDArray[Any]:
    cv2 = opencv()
    shrunk: NDArray[Any] = cv2.resize(picture_hw, size_hw[::-1], interpolation=cv2.INTER_AREA)
    return shrunk


def _two(real_hw: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.dstack([real_hw, np.zeros_like(real_hw)])


def _size(picture_hw: NDArray[Any]) -> Size:
    return picture_hw.shape[0], picture_hw.shape[1]
