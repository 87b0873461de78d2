"""What a scene is: a few numbers from which everything else follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from irvis_runtime.errors import ContractError

Kind = Literal["day", "overcast", "dusk", "night", "fog"]
Viewpoint = Literal["road", "aerial"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VIEWPOINTS: tuple[Viewpoint, ...] = get_args(Viewpoint)
MIN_SIDE_PX = 16


@dataclass(frozen=True)
class Scene:
    """One place at one time of day, seen by two cameras; equal scenes render equal pictures.

    ContractError where a side is shorter than MIN_SIDE_PX, or the kind or the viewpoint is unknown.
    """

    seed: int
    """Decides everything that the other fields leave open: layout, weather, colours, who walks where."""
    height_px: int = 480
    """Height of the visible picture, and of the infrared one registered onto it."""
    width_px: int = 640
    """Width of the same."""
    kind: Kind = "day"
    """Light and weather, one of KINDS."""
    viewpoint: Viewpoint = "road"
    """Where the camera hangs, one of VIEWPOINTS: beside a street, or under a drone."""

    def __post_init__(self) -> None:
        """Refuses what cannot be rendered."""
        if min(self.height_px, self.width_px) < MIN_SIDE_PX:
            raise ContractError(
                f"a scene needs sides of {MIN_SIDE_PX} px or more, "
                f"got {self.width_px}x{self.height_px}; ask for more"
            )
        if self.kind not in KINDS:
            raise ContractError(f"a scene's kind is one of {', '.join(KINDS)}, got {self.kind!r}; choose one")
        if self.viewpoint not in VIEWPOINTS:
            raise ContractError(
                f"a scene's viewpoint is one of {', '.join(VIEWPOINTS)}, got {self.viewpoint!r}; choose one"
            )
        if self.seed < 0:
            raise ContractError(f"a scene's seed must be 0 or more, got {self.seed}; choose another seed")


def random_scene(
    seed: int,
    size_hw: tuple[int, int] = (480, 640),
    kind: Kind | None = None,
    viewpoint: Viewpoint | None = None,
) -> Scene:
    """The scene of this seed; what is not given is drawn: mostly roads, every kind equally often."""
    if seed < 0:
        raise ContractError(f"a scene's seed must be 0 or more, got {seed}; choose another seed")
    rng = np.random.default_rng([seed, 1])
    drawn_kind = KINDS[int(rng.integers(len(KINDS)))]
    drawn_viewpoint: Viewpoint = "aerial" if rng.random() < 0.3 else "road"
    return Scene(seed, size_hw[0], size_hw[1], kind or drawn_kind, viewpoint or drawn_viewpoint)
