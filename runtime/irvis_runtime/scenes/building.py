"""What a building is: its place, its size, its walls and windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .weather import Colour

BRICKS: tuple[Colour, ...] = ((0.09, 0.13, 0.27), (0.12, 0.17, 0.25), (0.07, 0.10, 0.20))
PLASTERS: tuple[Colour, ...] = (
    (0.50, 0.56, 0.60),
    (0.38, 0.48, 0.55),
    (0.42, 0.44, 0.45),
    (0.30, 0.42, 0.52),
    (0.48, 0.47, 0.42),
)


@dataclass(frozen=True)
class Building:
    """A block on the ground: `width_m` along x, `length_m` along z, from its corner of least x and z."""

    x_m: float
    z_m: float
    width_m: float
    length_m: float
    height_m: float
    roof_m: float
    """Height of a gable above the walls; 0 for a flat roof."""
    wall_bgr: Colour
    is_brick: bool
    is_glass: bool
    has_shops: bool
    floor_m: float
    bay_m: float
    window_share: tuple[float, float]
    """Width and height of a window as shares of its bay."""
    lit_share: float
    warmth_c: float
    """How much warmer the wall is than others."""
    salt: int

    @property
    def footprint_m42(self) -> NDArray[np.float64]:
        """The corners on the ground as (x, z), in order around."""
        x0, x1, z0, z1 = self.x_m, self.x_m + self.width_m, self.z_m, self.z_m + self.length_m
        return np.array([[x0, z0], [x1, z0], [x1, z1], [x0, z1]])
