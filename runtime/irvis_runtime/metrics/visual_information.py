"""VIF: how much of the visual information of the sources can still be taken from the fused picture."""

from __future__ import annotations

import numpy as np

from .pictures import Picture, Plane, check_pictures
from .windows import gaussian, smooth, strips

# Four windows of 17, 9, 5 and 3 pixels with halvings between: 40 pixels leave the last window no position.
VIF_SMALLEST_SIDE_PX = 41
WINDOW_SIZES_PX = (17, 9, 5, 3)
EYE_NOISE_VARIANCE = 2.0
FLAT_VARIANCE = 1e-10


def vif(fused_hw: Picture, infrared_hw: Picture, visible_hw: Picture) -> float:
    """VIF, the visual information fidelity of the fused picture with each source, summed; higher is better.

    VIFP(infrared, fused) + VIFP(visible, fused), the pixel-domain form at four scales; each is the
    information about the source that passes through the fused picture and the eye, divided by what passes
    from the source itself. 0 to about 2; 2 where all three pictures are equal and not flat; beyond 2 where
    fusion enhanced the contrast. A flat source has nothing to pass on and adds 0. Source and fused picture
    cannot be exchanged.

    Sheikh, Bovik, IEEE TIP 15(2), 430-444 (2006), doi:10.1109/TIP.2005.859378.
    """
    check_pictures("VIF", VIF_SMALLEST_SIDE_PX, fused_hw, infrared_hw, visible_hw)
    sources_hw = [source_hw for source_hw in (infrared_hw, visible_hw) if source_hw.min() < source_hw.max()]
    planes = [picture_hw.astype(np.float64) for picture_hw in (fused_hw, *sources_hw)]
    information = np.zeros((len(sources_hw), 2))
    for scale, size_px in enumerate(WINDOW_SIZES_PX):
        window = gaussian(size_px, size_px / 5.0)
        if scale > 0:
            planes = [smooth(plane, window, step=2) for plane in planes]
        for rows in strips(planes[0].shape[0], size_px):
            information += _information(planes[0][rows], [plane[rows] for plane in planes[1:]], window)
    return float(np.sum(information[:, 0] / information[:, 1]))


def _information(fused_hw: Plane, sources_hw: list[Plane], window: Plane) -> Plane:
    """For each source what passes through fused and what passes from itself: (sources, 2)."""
    mean_fused = smooth(fused_hw, window)
    variance_fused = smooth(np.square(fused_hw), window) - np.square(mean_fused)
    information = np.empty((len(sources_hw), 2))
    for k, source in enumerate(sources_hw):
        mean_source = smooth(source, window)
        variance_source = smooth(np.square(source), window) - np.square(mean_source)
        covariance = smooth(source * fused_hw, window) - mean_source * mean_fused
        information[k, 0] = _passed_information(variance_source, variance_fused, covariance)
        information[k, 1] = _available_information(variance_source)
    return information


def _passed_information(variance_source: Plane, variance_fused: Plane, covariance: Plane) -> float:
    """What of the source passes through fused = gain * source + noise, summed over all windows.

    Natural logarithms, because only a ratio is used. Where either picture is flat, or the gain would be
    negative, nothing passes.
    """
    passes = (covariance > 0.0) & (variance_source >= FLAT_VARIANCE) & (variance_fused >= FLAT_VARIANCE)
    gain = passes * covariance / (np.maximum(variance_source, 0.0) + FLAT_VARIANCE)
    noise_variance = np.maximum(variance_fused - gain * covariance, FLAT_VARIANCE)
    signal_to_noise = np.square(gain) * variance_source / (noise_variance + EYE_NOISE_VARIANCE)
    return float(np.log(1.0 + signal_to_noise).sum())


def _available_information(variance_source: Plane) -> float:
    """What passes from the source itself through the eye, summed over all windows."""
    variance = variance_source * (variance_source >= FLAT_VARIANCE)
    return float(np.log(1.0 + variance / EYE_NOISE_VARIANCE).sum())
