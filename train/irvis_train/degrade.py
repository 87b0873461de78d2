"""What sensors, weather and mounting do to a pair, by severity: inputs to learn from and to be judged on.

A degradation takes planes (N, 1, H, W) in [0, 1], a severity in [0, 1] and a generator, and returns new
planes of that shape in [0, 1]. Severity 0 is the identity. With equal generators the same pattern (noise,
depth, direction) grows with the severity, so the damage does too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

Degradation = Callable[[Tensor, float, np.random.Generator], Tensor]

# The constants are what severity 1 gives.
BLUR_SIGMA_PX = 3.0
NO_BLUR_PX = 0.05
"""A neighbour's weight is then exp(-200): nothing in single precision."""
MOTION_LENGTH_PX = 17.0
SHOT_NOISE = 0.18
"""Standard deviation at full white; the shot noise's variance is proportional to the signal."""
READ_NOISE = 0.08
THERMAL_NOISE = 0.15
"""Standard deviation, independent of the signal."""
DARK_LOSS = 0.92
"""Share of the light that is missing."""
DARK_NOISE = 0.05
FOG_DEPTH = 3.0
"""Optical depth at the far end: transmission exp(-3)."""
CONTRAST_LOSS = 0.85
COLUMN_PATTERN = 0.08
PIXEL_PATTERN = 0.05
SHIFT_PX = 3.0
TURN_RADIANS = math.radians(0.4)
STRETCH = 0.01


def _checked(change: Degradation) -> Degradation:
    def degrade(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
        if not 0.0 <= severity <= 1.0:
            raise ContractError(f"severity: expected a number from 0 to 1, got {severity}; scale it")
        if planes_n1hw.ndim != 4 or planes_n1hw.shape[1] != 1:
            raise ContractError(
                f"planes: expected the shape (N, 1, H, W), got {tuple(planes_n1hw.shape)}; give one channel"
            )
        return planes_n1hw if severity == 0.0 else change(planes_n1hw, severity, random).clamp(0.0, 1.0)

    degrade.__name__, degrade.__doc__ = change.__name__, change.__doc__
    return degrade


@_checked
def blur(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes out of focus: a Gaussian of up to 3 px."""
    return gaussian(planes_n1hw, BLUR_SIGMA_PX * severity)


@_checked
def motion(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes smeared along one random direction, over up to 17 px."""
    kernel_hw = _line_kernel(MOTION_LENGTH_PX * severity, float(random.uniform(0.0, math.pi)))
    return _filtered(planes_n1hw, kernel_hw)


@_checked
def noise(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with a visible sensor's shot and read noise."""
    deviation = severity * torch.sqrt(SHOT_NOISE**2 * planes_n1hw + READ_NOISE**2)
    return planes_n1hw + deviation * normal_like(planes_n1hw, random)


@_checked
def dark(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes in low light: the signal sinks, and its noise stays."""
    signal = planes_n1hw * (1.0 - DARK_LOSS * severity)
    deviation = DARK_NOISE * severity * torch.sqrt(0.2 + signal)
    return signal + deviation * normal_like(signal, random)


@_checked
def fog(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes through haze that is denser towards the top, where far things are, and uneven.

    `p t + A (1 - t)`, t = exp(-depth): Koschmieder's law.
    """
    count, _, height, width = planes_n1hw.shape
    uneven = F.interpolate(
        _uniform(planes_n1hw, (count, 1, 4, 4), random), (height, width), mode="bicubic", align_corners=True
    ).clamp(0.0, 1.0)
    ramp = torch.linspace(1.0, 0.3, height, device=planes_n1hw.device)[:, None]
    airlight = 0.7 + 0.25 * _uniform(planes_n1hw, (count, 1, 1, 1), random)
    transmission = torch.exp(-FOG_DEPTH * severity * ramp * (0.6 + 0.4 * uneven))
    return planes_n1hw * transmission + airlight * (1.0 - transmission)


@_checked
def low_contrast(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes drawn towards their own mean."""
    mean = planes_n1hw.mean(dim=(2, 3), keepdim=True)
    return mean + (planes_n1hw - mean) * (1.0 - CONTRAST_LOSS * severity)


@_checked
def thermal_noise(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with noise that does not depend on the signal, as after an AGC of a flat scene."""
    return planes_n1hw + THERMAL_NOISE * severity * normal_like(planes_n1hw, random)


@_checked
def fixed_pattern(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes with an uncooled sensor's pattern: offsets of columns and of pixels."""
    count, _, height, width = planes_n1hw.shape
    columns = COLUMN_PATTERN * _normal(planes_n1hw, (count, 1, 1, width), random)
    pixels = PIXEL_PATTERN * _normal(planes_n1hw, (count, 1, height, width), random)
    return planes_n1hw + severity * (columns + pixels)


@_checked
def shift(planes_n1hw: Tensor, severity: float, random: np.random.Generator) -> Tensor:
    """Returns the planes off their place by up to about 4 px: a shift, a slight turn, a slight stretch."""
    height, width = planes_n1hw.shape[-2:]
    direction, turn, stretch = random.uniform(0.0, 2.0 * math.pi), *random.uniform(-1.0, 1.0, 2)
    turn, scale = severity * TURN_RADIANS * turn, 1.0 + severity * STRETCH * stretch
    cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
    right, down = (severity * SHIFT_PX * side for side in (math.cos(direction), math.sin(direction)))
    # grid_sample's coordinates run from -1 to 1 along each side.
    matrix = [
        [cosine, -sine * height / width, 2.0 * right / width],
        [sine * width / height, cosine, 2.0 * down / height],
    ]
    theta = torch.tensor(matrix, dtype=torch.float32, device=planes_n1hw.device)[None].expand(
        len(planes_n1hw), -1, -1
    )
    grid = F.affine_grid(theta, list(planes_n1hw.shape), align_corners=False)
    return F.grid_sample(planes_n1hw, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


# In the order in which light and sensor do it: two that meet in one picture are applied in this order.
VISIBLE: Mapping[str, Degradation] = {
    "fog": fog,
    "blur": blur,
    "motion": motion,
    "low_contrast": low_contrast,
    "dark": dark,
    "noise": noise,
}
INFRARED: Mapping[str, Degradation] = {
    "shift": shift,
    "blur": blur,
    "low_contrast": low_contrast,
    "noise": thermal_noise,
    "fixed_pattern": fixed_pattern,
}
_ALL = [("visible", name) for name in VISIBLE] + [("infrared", name) for name in INFRARED]


def degrade_pair(
    infrared_n1hw: Tensor, visible_n1hw: Tensor, random: np.random.Generator, max_severity: float = 1.0
) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Returns both pictures with one or two degradations each pair, and what was done to each pair.

    Names are as `visible.fog+infrared.blur`. The severities are uniform up to `max_severity`; the inputs are
    left as they are.
    """
    infrared, visible, names = [], [], []
    for infrared_11hw, visible_11hw in zip(
        torch.split(infrared_n1hw, 1), torch.split(visible_n1hw, 1), strict=True
    ):
        pair = {"infrared": infrared_11hw, "visible": visible_11hw}
        chosen = sorted(random.choice(len(_ALL), size=int(random.integers(1, 3)), replace=False))
        for sensor, name in (_ALL[index] for index in chosen):
            change = (VISIBLE if sensor == "visible" else INFRARED)[name]
            pair[sensor] = change(pair[sensor], float(random.uniform(0.0, max_severity)), random)
        infrared.append(pair["infrared"])
        visible.append(pair["visible"])
        names.append("+".join(".".join(_ALL[index]) for index in chosen))
    return torch.cat(infrared), torch.cat(visible), tuple(names)


def gaussian(planes_n1hw: Tensor, sigma_px: float) -> Tensor:
    """Returns the planes under a Gaussian, reflected at the borders; of no effect at 0."""
    if sigma_px < NO_BLUR_PX:
        return planes_n1hw
    radius = min(math.ceil(3.0 * sigma_px), min(planes_n1hw.shape[-2:]) - 1)
    place = torch.arange(-radius, radius + 1, device=planes_n1hw.device, dtype=torch.float32)
    weights = torch.exp(-0.5 * (place / sigma_px) ** 2)
    weights = weights / weights.sum()
    return _filtered(_filtered(planes_n1hw, weights[:, None]), weights[None, :])


def _filtered(planes_n1hw: Tensor, kernel_hw: Tensor) -> Tensor:
    down, across = (side // 2 for side in kernel_hw.shape)
    padded = F.pad(planes_n1hw, (across, across, down, down), mode="reflect")
    return F.conv2d(padded, kernel_hw[None, None].to(planes_n1hw.device))


def _line_kernel(length_px: float, angle: float) -> Tensor:
    """A line of that length as a kernel that sums to 1, each of its points spread over four pixels."""
    radius = math.ceil(MOTION_LENGTH_PX / 2.0)
    along = np.linspace(-0.5, 0.5, 8 * radius) * length_px
    kernel_hw = np.zeros((2 * radius + 2, 2 * radius + 2), dtype=np.float32)
    down, across = along * math.sin(angle) + radius, along * math.cos(angle) + radius
    top, left = np.floor(down).astype(int), np.floor(across).astype(int)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share_down = down - top if row else 1.0 - (down - top)
        share_across = across - left if column else 1.0 - (across - left)
        np.add.at(kernel_hw, (top + row, left + column), share_down * share_across)
    return torch.from_numpy(kernel_hw[:-1, :-1] / kernel_hw[:-1, :-1].sum())


def normal_like(planes: Tensor, random: np.random.Generator) -> Tensor:
    """Normal noise of the planes' shape, made on their device from the generator's next number."""
    return _normal(planes, tuple(planes.shape), random)


def _normal(like: Tensor, shape: tuple[int, ...], random: np.random.Generator) -> Tensor:
    return torch.randn(shape, generator=_generator(like, random), device=like.device)


def _uniform(like: Tensor, shape: tuple[int, ...], random: np.random.Generator) -> Tensor:
    return torch.rand(shape, generator=_generator(like, random), device=like.device)


def _generator(like: Tensor, random: np.random.Generator) -> torch.Generator:
    return torch.Generator(like.device).manual_seed(int(random.integers(2**62)))
