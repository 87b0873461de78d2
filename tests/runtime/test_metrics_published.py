"""The metrics against the published values in shared/reference: Tang's evaluation on TNO, and VIFB."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime import metrics

U8 = NDArray[np.uint8]
Published = dict[tuple[str, str, str], str]

# Those of the tables' methods whose fused pictures are at hand, and the pictures of the default run.
TNO_METHODS, TNO_SOME = ("DenseFuse", "U2Fusion"), ("03", "08", "34")
VIFB_METHODS, VIFB_SOME = ("ADF", "GTF", "SeAFusion", "U2Fusion"), ("fight", "manWalking", "walking")
# VIFB's names of the metrics whose convention is ours, taken per channel and averaged.
VIFB_NAMES = {"Ssim": "SSIM", "Entropy": "EN", "Variance": "SD", "Avg_gradient": "AG", "Qabf": "Qabf"}


def published(path: Path) -> Published:
    """(method, metric, image) -> the value as printed."""
    with path.open(newline="") as lines:
        return {(row["method"], row["metric"], row["image"]): row["value"] for row in csv.DictReader(lines)}


def stems(fused: Path, sources: Path) -> list[str]:
    """The pictures that both sides have."""
    return sorted({p.stem for p in fused.iterdir()} & {p.stem for p in sources.iterdir()})


def gray(path: Path) -> U8:
    """A picture of one channel, or of three equal ones."""
    picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), dtype=np.uint8)
    if picture.ndim == 3:
        assert (picture == picture[..., :1]).all()
        picture = picture[..., 0]
    return picture


def colour(path: Path) -> list[U8]:
    """The three channels; a gray picture stands for all three."""
    picture = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), dtype=np.uint8)
    return [np.ascontiguousarray(picture[..., channel]) for channel in range(3)]


def saturated(levels: U8) -> U8:
    """What the published joint histogram sees: level + 1 in uint8 arithmetic, so 254 and 255 are one."""
    return np.minimum(levels, 254).astype(np.uint8)


def joint_entropy(a: U8, b: U8) -> float:
    counts = np.unique(a.astype(np.int64) * 256 + b, return_counts=True)[1] / a.size
    return float(-(counts * np.log2(counts)).sum())


def saturation_of_mi(fused: U8, *sources: U8) -> float:
    """By how much the published MI is larger than the true one."""
    return sum(joint_entropy(s, fused) - joint_entropy(saturated(s), saturated(fused)) for s in sources)


def check_tno(shared: Path, method: str, images: list[str], tolerance: float) -> None:
    table = published(shared / "reference/metrics/tno_recomputed.csv")
    for image in images:
        fused = gray(shared / f"reference/fused/TNO/{method}/{image}.png")
        infrared, visible = (
            gray(shared / f"data/benchmark/TNO/{kind}/{image}.png") for kind in ("ir", "vis")
        )
        values = metrics.evaluate(fused, infrared, visible)
        values["MI"] += saturation_of_mi(fused, infrared, visible)
        # The published PSNR mixes levels of 0..1 with a peak of 255.
        values["PSNR"] += 20.0 * math.log10(255.0)
        # This table has neither.
        for name in ("SSIM", "Nabf"):
            values.pop(name)
        expected = {name: float(table[method, name, image]) for name in values}
        assert values == pytest.approx(expected, rel=tolerance), f"{method} {image}"


@pytest.mark.parametrize("method", TNO_METHODS)
def test_some_pictures_of_tno(shared: Path, tolerances: Mapping[str, float], method: str) -> None:
    check_tno(shared, method, list(TNO_SOME), tolerances["metric_relative"])


@pytest.mark.slow
@pytest.mark.parametrize("method", TNO_METHODS)
def test_all_pictures_of_tno(shared: Path, tolerances: Mapping[str, float], method: str) -> None:
    images = stems(shared / f"reference/fused/TNO/{method}", shared / "data/benchmark/TNO/ir")
    assert len(images) >= 30
    check_tno(shared, method, images, tolerances["metric_relative"])


def test_the_published_mi_saturates_and_ours_does_not(shared: Path) -> None:
    fused = gray(shared / "reference/fused/TNO/U2Fusion/03.png")
    infrared, visible = (gray(shared / f"data/benchmark/TNO/{kind}/03.png") for kind in ("ir", "vis"))
    table = published(shared / "reference/metrics/tno_recomputed.csv")
    excess = float(table["U2Fusion", "MI", "03"]) - metrics.mi(fused, infrared, visible)
    assert excess == pytest.approx(saturation_of_mi(fused, infrared, visible), abs=1e-9)
    assert excess > 0.03


def check_vifb(shared: Path, method: str, images: list[str]) -> None:
    """Five significant digits are printed: ours must round to them."""
    table = published(shared / "reference/metrics/vifb.csv")
    for image in images:
        fused = colour(shared / f"reference/fused/VIFB/{method}/{image}.jpg")
        infrared, visible = (
            colour(shared / f"data/benchmark/VIFB/{kind}/{image}.jpg") for kind in ("ir", "vis")
        )
        channels = [
            metrics.evaluate(f, i, v, VIFB_NAMES.values())
            for f, i, v in zip(fused, infrared, visible, strict=True)
        ]
        for theirs, ours in VIFB_NAMES.items():
            printed = float(table[method, theirs, image])
            value = sum(channel[ours] for channel in channels) / 3.0
            last_digit = 10.0 ** (math.floor(math.log10(printed)) - 4)
            assert value == pytest.approx(printed, abs=0.5001 * last_digit, rel=0.0), (
                f"{method} {image} {ours}"
            )


@pytest.mark.parametrize("method", VIFB_METHODS)
def test_some_pictures_of_vifb(shared: Path, method: str) -> None:
    check_vifb(shared, method, list(VIFB_SOME))


@pytest.mark.slow
@pytest.mark.parametrize("method", VIFB_METHODS)
def test_all_pictures_of_vifb(shared: Path, method: str) -> None:
    images = stems(shared / f"reference/fused/VIFB/{method}", shared / "data/benchmark/VIFB/ir")
    assert len(images) == 21
    check_vifb(shared, method, images)
