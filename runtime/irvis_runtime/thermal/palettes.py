"""Palettes: a thermal picture in colour, as NV12."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.image import opencv

PaletteName = Literal["white-hot", "black-hot", "ironbow", "rainbow", "arctic"]
Rgb = tuple[int, int, int]

# From cold to hot, evenly spaced, R'G'B' 0 to 255; straight lines between. Drawn by eye for irvis. Those for
# looking at heat (ironbow, arctic) grow lighter without a step back, so that they read as pictures too.
CONTROL_POINTS: Mapping[PaletteName, tuple[Rgb, ...]] = MappingProxyType(
    {
        "white-hot": ((0, 0, 0), (255, 255, 255)),
        "black-hot": ((255, 255, 255), (0, 0, 0)),
        "ironbow": (
            (0, 0, 10),
            (42, 0, 110),
            (122, 4, 150),
            (188, 28, 128),
            (228, 74, 52),
            (246, 132, 14),
            (254, 188, 30),
            (255, 232, 112),
            (255, 255, 240),
        ),
        "rainbow": (
            (10, 6, 80),
            (20, 50, 200),
            (0, 140, 210),
            (10, 180, 110),
            (110, 205, 30),
            (225, 205, 0),
            (245, 120, 0),
            (220, 20, 20),
            (255, 225, 225),
        ),
        "arctic": (
            (4, 8, 46),
            (14, 44, 128),
            (30, 104, 190),
            (92, 150, 196),
            (150, 158, 158),
            (206, 168, 96),
            (246, 188, 44),
            (255, 220, 120),
            (255, 250, 225),
        ),
    }
)

# Luma weights of red and blue by GStreamer's number of the matrix: ITU-R BT.709, BT.601, SMPTE 240M, BT.2020.
_WEIGHTS = {"3": (0.2126, 0.0722), "4": (0.299, 0.114), "5": (0.212, 0.087), "6": (0.2627, 0.0593)}
# GStreamer's short names; every other text is range:matrix:transfer:primaries in numbers.
_SHORT_NAMES = {"bt601": "4", "bt709": "3", "smpte240m": "5", "bt2020": "6", "bt2100": "6"}
_BT601 = "4"


def colourise(
    grey_hw: NDArray[np.uint8], palette: PaletteName, colorimetry: str, is_full_range: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns NV12's two planes of a full-range grey picture: luma (H, W), chroma (ceil(H/2), 2 ceil(W/2)).

    `colorimetry`, `is_full_range`: of the picture that goes out, as in a Frame; an unknown matrix is BT.601.
    Chroma is the mean of two by two pixels.
    """
    cv2 = opencv()
    tables = _tables(palette, is_full_range, _matrix(colorimetry))
    luma_hw, *chroma = (cv2.LUT(grey_hw, table) for table in tables)
    return luma_hw, np.dstack([_halved(plane) for plane in chroma]).reshape(-(-grey_hw.shape[0] // 2), -1)


def palette_rgb(palette: PaletteName) -> NDArray[np.float64]:
    """Returns the 256 colours, R'G'B' (256, 3) in 0..255, from cold to hot."""
    points = np.array(CONTROL_POINTS[palette], np.float64)
    at = np.linspace(0, 255, len(points))
    return np.stack([np.interp(np.arange(256), at, channel) for channel in points.T], axis=1)


@lru_cache(maxsize=32)
def _tables(palette: PaletteName, is_full_range: bool, matrix: str) -> tuple[NDArray[np.uint8], ...]:
    """Y', Cb and Cr of the 256 colours (ITU-R BT.601-7 2.5 and its kin; full range as in JPEG)."""
    red, green, blue = palette_rgb(palette).T / 255
    weight_red, weight_blue = _WEIGHTS[matrix]
    luma = weight_red * red + (1 - weight_red - weight_blue) * green + weight_blue * blue
    differences = ((blue - luma) / (2 - 2 * weight_blue), (red - luma) / (2 - 2 * weight_red))
    luma_scale, black, chroma_scale = (255, 0, 255) if is_full_range else (219, 16, 224)
    planes = [luma_scale * luma + black, *(chroma_scale * share + 128 for share in differences)]
    return tuple(np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in planes)


def _matrix(colorimetry: str) -> str:
    for name, matrix in _SHORT_NAMES.items():
        if colorimetry.startswith(name):
            return matrix
    numbers = colorimetry.split(":")
    return numbers[1] if len(numbers) == 4 and numbers[1] in _WEIGHTS else _BT601


def _halved(plane_hw: NDArray[Any]) -> NDArray[np.uint8]:
    """The means of two by two; an odd side repeats its last row or column."""
    height, width = plane_hw.shape
    even_hw = np.pad(plane_hw, ((0, height % 2), (0, width % 2)), mode="edge")
    size = (even_hw.shape[1] // 2, even_hw.shape[0] // 2)
    return cast("NDArray[np.uint8]", opencv().resize(even_hw, size, interpolation=opencv().INTER_AREA))
