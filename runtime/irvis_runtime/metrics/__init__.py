"""How good a fused picture is, by the field's metrics, in numpy alone.

`evaluate` names and computes any of them; each is also a function of its own, which says what it means,
whether higher or lower is better and where it was published. Conventions that all share:

- Pictures are uint8 luma of equal size, full range 0..255; all arithmetic is float64 or exact integers.
- The two sources play equal parts: exchanging infrared and visible changes nothing beyond rounding.
- A flat picture carries nothing, so where a formula is 0/0 the value is 0. SSIM and MSE are always defined;
  PSNR of three equal pictures is infinite.
"""

from .artefacts import nabf
from .edges import qabf
from .evaluation import METRICS, Metric, evaluate
from .information import en, mi
from .likeness import cc, mse, psnr, scd
from .pictures import Picture
from .spread import ag, sd, sf
from .structure import ssim
from .visual_information import vif

__all__ = [
    "METRICS",
    "Metric",
    "Picture",
    "ag",
    "cc",
    "en",
    "evaluate",
    "mi",
    "mse",
    "nabf",
    "psnr",
    "qabf",
    "scd",
    "sd",
    "sf",
    "ssim",
    "vif",
]
