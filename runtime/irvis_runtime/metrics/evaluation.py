"""All metrics by the field's names, and `evaluate`, which computes the chosen ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from irvis_runtime.errors import ContractError

from .artefacts import NABF_SMALLEST_SIDE_PX, nabf
from .edges import qabf
from .information import en, mi
from .likeness import cc, mse, psnr, scd
from .pictures import Picture, check_pictures
from .spread import DIFFERENCE_SMALLEST_SIDE_PX, ag, sd, sf
from .structure import SSIM_SMALLEST_SIDE_PX, ssim
from .visual_information import VIF_SMALLEST_SIDE_PX, vif


@dataclass(frozen=True)
class Metric:
    """One metric of a fused picture and its two sources."""

    measure: Callable[[Picture, Picture, Picture], float]
    """Its value for fused, infrared and visible (H, W)."""
    higher_is_better: bool = True
    smallest_side_px: int = 1
    """The smallest height and width for which it is defined."""


def _of_fused(measure: Callable[[Picture], float]) -> Callable[[Picture, Picture, Picture], float]:
    return lambda fused_hw, _infrared_hw, _visible_hw: measure(fused_hw)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "EN": Metric(_of_fused(en)),
        "SD": Metric(_of_fused(sd)),
        "SF": Metric(_of_fused(sf), smallest_side_px=DIFFERENCE_SMALLEST_SIDE_PX),
        "AG": Metric(_of_fused(ag), smallest_side_px=DIFFERENCE_SMALLEST_SIDE_PX),
        "MI": Metric(mi),
        "CC": Metric(cc),
        "SCD": Metric(scd),
        "SSIM": Metric(ssim, smallest_side_px=SSIM_SMALLEST_SIDE_PX),
        "VIF": Metric(vif, smallest_side_px=VIF_SMALLEST_SIDE_PX),
        "Qabf": Metric(qabf),
        "Nabf": Metric(nabf, higher_is_better=False, smallest_side_px=NABF_SMALLEST_SIDE_PX),
        "PSNR": Metric(psnr),
        "MSE": Metric(mse, higher_is_better=False),
    }
)


def evaluate(
    fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture, names: str | Iterable[str] | None = None
) -> dict[str, float]:
    """The metrics called `names`, in that order, or all of METRICS where names is None.

    Args:
        fused_hw: uint8 luma (H, W), 0..255.
        infrared_hw: the same shape, registered onto the visible picture.
        visible_hw: the same shape.
        names: keys of METRICS; one alone may be a plain string.

    Raises:
        ContractError: an unknown name, pictures that are not uint8 (H, W) of equal size, or pictures too
            small for a chosen metric (VIF, and so all of them, needs 41 x 41). Nothing is computed then.
    """
    chosen = list(METRICS) if names is None else _checked_names(names)
    check_pictures("evaluate", 1, fused_hw, infrared_hw, visible_hw)
    for name in chosen:
        check_pictures(name, METRICS[name].smallest_side_px, fused_hw, infrared_hw, visible_hw)
    return {name: METRICS[name].measure(fused_hw, infrared_hw, visible_hw) for name in chosen}


def _checked_names(names: str | Iterable[str]) -> list[str]:
    chosen = [names] if isinstance(names, str) else list(names)
    for name in chosen:
        if name not in METRICS:
            by_upper = {known.upper(): known for known in METRICS}
            nearest = by_upper[get_close_matches(str(name).upper(), by_upper, n=1, cutoff=0.0)[0]]
            raise ContractError(
                f"no metric {name!r}; the nearest is {nearest!r}, all are: {', '.join(METRICS)}"
            )
    return chosen
