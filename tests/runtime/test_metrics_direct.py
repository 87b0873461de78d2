"""The metrics against slow direct forms, written from the formulae and sharing nothing with the package."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from irvis_runtime import metrics

U8 = NDArray[np.uint8]
F8 = NDArray[np.float64]

few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def small_triples(draw: st.DrawFn, smallest_px: int = 1) -> tuple[U8, U8, U8]:
    """Three pictures of equal size, up to 9 pixels a side, of any levels."""
    shape = draw(st.tuples(st.integers(smallest_px, 9), st.integers(smallest_px, 9)))
    levels = st.sampled_from([0, 1, 2, 100, 128, 253, 254, 255]) | st.integers(0, 255)
    fused, infrared, visible = (draw(hnp.arrays(np.uint8, shape, elements=levels)) for _ in range(3))
    return fused, infrared, visible


@st.composite
def textured_triples(draw: st.DrawFn, smallest_px: int, largest_px: int) -> tuple[U8, U8, U8]:
    """Noise over a ramp with flat and saturated parts; fused is a mixture of the other two."""
    height, width = (draw(st.integers(smallest_px, largest_px)) for _ in range(2))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    noise, share = draw(st.sampled_from([2.0, 20.0, 200.0])), draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    ramp = np.add.outer(np.linspace(0, 200, height), np.linspace(0, 90, width))
    infrared = np.clip(ramp + random.normal(0, noise, ramp.shape), 0, 255).astype(np.uint8)
    visible = np.clip(255 - ramp + random.normal(0, noise, ramp.shape), 0, 255).astype(np.uint8)
    visible[: height // 2, : width // 2] = draw(st.integers(0, 255))
    fused = np.rint(share * infrared + (1 - share) * visible).astype(np.uint8)
    return fused, infrared, visible


def en_direct(fused: U8) -> float:
    counts = Counter(fused.ravel().tolist())
    return -math.fsum(n / fused.size * math.log2(n / fused.size) for n in counts.values())


def mi_direct(fused: U8, *sources: U8) -> float:
    """The sum of p(a, f) log2(p(a, f) / (p(a) p(f))): no entropies in it."""
    total, n = [], fused.size
    f_counts = Counter(fused.ravel().tolist())
    for source in sources:
        a_counts = Counter(source.ravel().tolist())
        pairs = Counter(zip(source.ravel().tolist(), fused.ravel().tolist(), strict=True))
        total += [c / n * math.log2(c * n / (a_counts[a] * f_counts[f])) for (a, f), c in pairs.items()]
    return math.fsum(total)


def sd_direct(fused: U8) -> float:
    mean = math.fsum(fused.ravel().tolist()) / fused.size
    return math.sqrt(math.fsum((x - mean) ** 2 for x in fused.ravel().tolist()) / fused.size)


def sf_direct(fused: U8) -> float:
    p: list[list[int]] = fused.tolist()
    m, n = len(p), len(p[0])
    vertical = math.fsum((p[y + 1][x] - p[y][x]) ** 2 for y in range(m - 1) for x in range(n))
    horizontal = math.fsum((p[y][x + 1] - p[y][x]) ** 2 for y in range(m) for x in range(n - 1))
    return math.sqrt(vertical / ((m - 1) * n) + horizontal / (m * (n - 1)))


def ag_direct(fused: U8) -> float:
    p: list[list[int]] = fused.tolist()
    m, n = len(p), len(p[0])

    def slope(y: int, x: int, dy: int, dx: int) -> float:
        y1, x1, y0, x0 = min(y + dy, m - 1), min(x + dx, n - 1), max(y - dy, 0), max(x - dx, 0)
        return (p[y1][x1] - p[y0][x0]) / (y1 - y0 + x1 - x0)

    lengths = (math.hypot(slope(y, x, 1, 0), slope(y, x, 0, 1)) for y in range(m) for x in range(n))
    return math.fsum(lengths) / math.sqrt(2) / ((m - 1) * (n - 1))


def correlation_direct(a: NDArray[Any], b: NDArray[Any]) -> float:
    x: list[int] = a.ravel().tolist()
    y: list[int] = b.ravel().tolist()
    n = a.size
    sxy = n * sum(p * q for p, q in zip(x, y, strict=True)) - sum(x) * sum(y)
    sxx, syy = n * sum(p * p for p in x) - sum(x) ** 2, n * sum(q * q for q in y) - sum(y) ** 2
    return sxy / math.sqrt(sxx * syy) if sxx and syy else 0.0


def cc_direct(fused: U8, infrared: U8, visible: U8) -> float:
    return (correlation_direct(infrared, fused) + correlation_direct(visible, fused)) / 2


def scd_direct(fused: U8, infrared: U8, visible: U8) -> float:
    f, i, v = (picture.astype(int) for picture in (fused, infrared, visible))
    return correlation_direct(f - v, i) + correlation_direct(f - i, v)


def mse_direct(fused: U8, *sources: U8) -> float:
    f = fused.ravel().tolist()
    squares = (((p - q) / 255) ** 2 for s in sources for p, q in zip(f, s.ravel().tolist(), strict=True))
    return math.fsum(squares) / (2 * fused.size)


def psnr_direct(fused: U8, *sources: U8) -> float:
    error = mse_direct(fused, *sources)
    return 20 * math.log10(1 / math.sqrt(error)) if error else math.inf


def window_direct(size: int, sigma: float) -> F8:
    """The Gaussian in two dimensions at once."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    weights: F8 = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    weights /= weights.sum()
    return weights


def moments_direct(a: F8, b: F8, window: F8) -> list[tuple[float, float, float, float, float]]:
    """Both means, both variances and the covariance at each position, as weighted sums about the mean."""
    n, found = len(window), []
    for y in range(a.shape[0] - n + 1):
        for x in range(a.shape[1] - n + 1):
            p, q = a[y : y + n, x : x + n], b[y : y + n, x : x + n]
            mp, mq = float((window * p).sum()), float((window * q).sum())
            p, q = p - mp, q - mq
            vp, vq, covariance = (float((window * s * t).sum()) for s, t in ((p, p), (q, q), (p, q)))
            found.append((mp, mq, vp, vq, covariance))
    return found


def ssim_direct(fused: U8, *sources: U8) -> float:
    c1, c2, total = 6.5025, 58.5225, 0.0
    for source in sources:
        moments = moments_direct(source.astype(float), fused.astype(float), window_direct(11, 1.5))
        total += math.fsum(
            (2 * ma * mf + c1) * (2 * covariance + c2) / ((ma * ma + mf * mf + c1) * (va + vf + c2))
            for ma, mf, va, vf, covariance in moments
        ) / len(moments)
    return total


def vif_direct(fused: U8, *sources: U8) -> float:
    return math.fsum(vifp_direct(source.astype(float), fused.astype(float)) for source in sources)


def vifp_direct(source: F8, fused: F8) -> float:
    passed, available = [], []
    for scale in range(1, 5):
        window = window_direct(2 ** (5 - scale) + 1, (2 ** (5 - scale) + 1) / 5)
        if scale > 1:
            source, fused = (halved_direct(plane, window) for plane in (source, fused))
        for _, _, va, vf, covariance in moments_direct(source, fused, window):
            gain = covariance / va if covariance > 0 and va > 1e-10 and vf > 1e-10 else 0.0
            passed.append(math.log10(1 + gain**2 * va / (max(vf - gain * covariance, 1e-10) + 2)))
            available.append(math.log10(1 + va / 2))
    return math.fsum(passed) / math.fsum(available)


def halved_direct(plane: F8, window: F8) -> F8:
    n, (m, k) = len(window), plane.shape
    rows = [
        [(window * plane[y : y + n, x : x + n]).sum() for x in range(0, k - n + 1, 2)]
        for y in range(0, m - n + 1, 2)
    ]
    return np.array(rows, dtype=np.float64)


def edge_direct(p: list[list[int]], y: int, x: int) -> tuple[float, float]:
    """Sobel's length and angle at one pixel: a true convolution, so the kernels act turned by half a turn."""
    kernel_x, kernel_y = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)), ((1, 2, 1), (0, 0, 0), (-1, -2, -1))
    sx = sy = 0
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            level = p[y - dy][x - dx] if 0 <= y - dy < len(p) and 0 <= x - dx < len(p[0]) else 0
            sx += kernel_x[dy + 1][dx + 1] * level
            sy += kernel_y[dy + 1][dx + 1] * level
    return math.sqrt(sx * sx + sy * sy), math.atan(sy / sx) if sx else math.pi / 2


def qabf_direct(fused: U8, *sources: U8) -> float:
    kept, available = [], []
    positions = [(y, x) for y in range(fused.shape[0]) for x in range(fused.shape[1])]
    for source in sources:
        for y, x in positions:
            (ga, aa), (gf, af) = edge_direct(source.tolist(), y, x), edge_direct(fused.tolist(), y, x)
            strength = gf if ga == gf else min(ga, gf) / max(ga, gf)
            direction = 1 - abs(aa - af) / (math.pi / 2)
            q_strength = 0.9994 / (1 + math.exp(-15 * (strength - 0.5)))
            q_direction = 0.9879 / (1 + math.exp(-22 * (direction - 0.8)))
            kept.append(q_strength * q_direction * ga)
            available.append(ga)
    return math.fsum(kept) / math.fsum(available) if any(available) else 0.0


def gradient_direct(p: list[list[int]], y: int, x: int) -> tuple[float, float]:
    """Sobel's over 8, in a picture that goes on as its reflection; the angle is that of across over down."""

    def level(row: int, column: int) -> int:
        row, column = abs(row), abs(column)
        last_row, last_column = len(p) - 1, len(p[0]) - 1
        return p[last_row - abs(row - last_row)][last_column - abs(column - last_column)]

    across = sum(w * (level(y + d, x + 1) - level(y + d, x - 1)) for d, w in ((-1, 1), (0, 2), (1, 1))) / 8
    down = sum(w * (level(y + 1, x + d) - level(y - 1, x + d)) for d, w in ((-1, 1), (0, 2), (1, 1))) / 8
    angle = math.atan(across / down) if down else math.copysign(math.pi / 2, across) if across else 0.0
    return math.hypot(across, down), angle


def nabf_direct(fused: U8, *sources: U8) -> float:
    lost, available = [], []
    f, *planes = (picture.tolist() for picture in (fused, *sources))
    for y, x in np.ndindex(fused.shape):
        gf, af = gradient_direct(f, y, x)
        gradients = [gradient_direct(plane, y, x) for plane in planes]
        for g, a in gradients:
            weight = g**1.5 if g >= 2 else 0.001
            available.append(weight)
            if gf > max(other for other, _ in gradients):
                q_strength = 0.9999 / (1 + math.exp(-19 * (g / gf - 0.5)))
                q_direction = 0.9995 / (
                    1 + math.exp(-22 * (abs(abs(a - af) - math.pi / 2) * 2 / math.pi - 0.5))
                )
                lost.append(weight * (1 - math.sqrt(q_strength * q_direction)))
    return math.fsum(lost) / math.fsum(available)


OF_FUSED: dict[str, Callable[[U8], float]] = {
    "EN": en_direct,
    "SD": sd_direct,
    "SF": sf_direct,
    "AG": ag_direct,
}
OF_ALL: dict[str, Callable[..., float]] = {
    "MI": mi_direct,
    "CC": cc_direct,
    "SCD": scd_direct,
    "MSE": mse_direct,
    "PSNR": psnr_direct,
    "Qabf": qabf_direct,
    "Nabf": nabf_direct,
}


@given(small_triples(smallest_px=2))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_metrics_of_small_pictures_agree_with_the_direct_forms(
    tolerances: Mapping[str, float], triple: tuple[U8, U8, U8]
) -> None:
    values = metrics.evaluate(*triple, [*OF_FUSED, *OF_ALL])
    expected = {name: direct(triple[0]) for name, direct in OF_FUSED.items()}
    expected |= {name: direct(*triple) for name, direct in OF_ALL.items()}
    assert values == pytest.approx(expected, rel=tolerances["metric_relative"], abs=1e-12)


@given(textured_triples(smallest_px=11, largest_px=40))
@few
def test_ssim_agrees_with_the_direct_form(tolerances: Mapping[str, float], triple: tuple[U8, U8, U8]) -> None:
    assert metrics.ssim(*triple) == pytest.approx(ssim_direct(*triple), rel=tolerances["metric_relative"])


@pytest.mark.parametrize("shape", [(41, 290), (130, 41)])
def test_pictures_that_are_filtered_in_pieces_agree_too(
    tolerances: Mapping[str, float], shape: tuple[int, int]
) -> None:
    random = np.random.default_rng(0)
    infrared, visible = (random.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))
    fused = (infrared // 2 + visible // 2).astype(np.uint8)
    expected = {"SSIM": ssim_direct(fused, infrared, visible), "VIF": vif_direct(fused, infrared, visible)}
    values = metrics.evaluate(fused, infrared, visible, expected)
    assert values == pytest.approx(expected, rel=tolerances["metric_relative"])


@given(textured_triples(smallest_px=41, largest_px=52))
@few
def test_vif_agrees_with_the_direct_form(tolerances: Mapping[str, float], triple: tuple[U8, U8, U8]) -> None:
    assert metrics.vif(*triple) == pytest.approx(vif_direct(*triple), rel=tolerances["metric_relative"])
