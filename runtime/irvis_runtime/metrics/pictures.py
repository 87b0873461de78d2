"""What every metric accepts: uint8 luma pictures of one size, checked before anything is computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.errors import ContractError

Picture = NDArray[np.uint8]
Plane = NDArray[np.float64]

NAMES = ("fused", "infrared", "visible")


def check_pictures(metric: str, smallest_side_px: int, *pictures_hw: Picture) -> None:
    """Raises ContractError unless the pictures are uint8, two-dimensional, of equal size and large enough.

    Args:
        metric: the name that the error message begins with.
        smallest_side_px: the smallest height and width for which the metric is defined.
        pictures_hw: fused alone, or fused, infrared and visible: the order of NAMES.
    """
    for name, picture in zip(NAMES, pictures_hw, strict=False):
        if not isinstance(picture, np.ndarray):
            came = type(picture).__name__
        elif picture.dtype != np.uint8 or picture.ndim != 2:
            came = f"{picture.dtype} of shape {picture.shape}"
        else:
            continue
        raise ContractError(
            f"{metric}: expected the {name} picture as a uint8 array of shape (H, W), got {came}; "
            "convert it to 8-bit luma first"
        )
    height_px, width_px = pictures_hw[0].shape
    for name, picture in zip(NAMES, pictures_hw, strict=False):
        if picture.shape != (height_px, width_px):
            raise ContractError(
                f"{metric}: expected three pictures of equal size, got fused {width_px}x{height_px} and "
                f"{name} {picture.shape[1]}x{picture.shape[0]} (width x height); resize the sources first"
            )
    if min(height_px, width_px) < smallest_side_px:
        raise ContractError(
            f"{metric}: expected pictures of at least {smallest_side_px}x{smallest_side_px} pixels, "
            f"got {width_px}x{height_px} (width x height); use larger pictures or leave {metric} out"
        )
