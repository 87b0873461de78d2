"""evaluate, and every metric at the ends of its range: equal, flat, tiny and wrong pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from irvis_runtime import metrics
from irvis_runtime.errors import ContractError

U8 = NDArray[np.uint8]

FROM_THE_FIRST_RELEASE = {"EN", "SD", "SF", "MI", "SSIM", "VIF", "Qabf"}

# Of generated(), by the direct forms of test_metrics_direct.py: plain loops and math.fsum.
GOLDEN = {
    "EN": 7.609117159183207,
    "SD": 51.321491064074586,
    "SF": 34.51716457341442,
    "AG": 12.496215859147497,
    "MI": 8.244478338376705,
    "CC": 0.6240432627412872,
    "SCD": 1.4549507164479274,
    "SSIM": 1.011160485453248,
    "VIF": 0.3990712432876285,
    "Qabf": 0.665190122430394,
    "Nabf": 9.521560947328737e-09,
    "PSNR": 13.325763389465417,
    "MSE": 0.04649686382277213,
}


def generated() -> tuple[U8, U8, U8]:
    """Fused, infrared, visible (44, 48): infrared a hot disc on a ramp, visible a pattern of all levels."""
    y, x = np.mgrid[:44, :48]
    infrared = np.where((x - 15) ** 2 + (y - 20) ** 2 < 60, 255, 2 * x + y)
    visible = ((7 * x) ^ (5 * y)) % 256
    fused = (infrared + 2 * visible) // 3
    return fused.astype(np.uint8), infrared.astype(np.uint8), visible.astype(np.uint8)


def noise(seed: int, height_px: int = 44, width_px: int = 48) -> U8:
    return np.random.default_rng(seed).integers(0, 256, (height_px, width_px), dtype=np.uint8)


def noises(height_px: int, width_px: int) -> tuple[U8, U8, U8]:
    return noise(0, height_px, width_px), noise(1, height_px, width_px), noise(2, height_px, width_px)


def flat(level: int) -> U8:
    return np.full((44, 48), level, np.uint8)


def test_golden_values_of_a_generated_triple(tolerances: Mapping[str, float]) -> None:
    assert metrics.evaluate(*generated()) == pytest.approx(GOLDEN, rel=tolerances["metric_golden_relative"])


def test_the_public_names_are_there() -> None:
    assert set(metrics.METRICS) >= FROM_THE_FIRST_RELEASE
    assert list(metrics.evaluate(*generated())) == list(metrics.METRICS)


def test_evaluate_keeps_the_order_of_the_names_and_takes_one_alone() -> None:
    assert list(metrics.evaluate(*generated(), ["VIF", "EN"])) == ["VIF", "EN"]
    assert metrics.evaluate(*generated(), "EN") == {"EN": metrics.en(generated()[0])}
    assert metrics.evaluate(*generated(), []) == {}


def test_values_are_plain_finite_floats() -> None:
    values = metrics.evaluate(*generated())
    assert all(type(value) is float and math.isfinite(value) for value in values.values())


def test_errors_and_artefacts_are_better_when_lower() -> None:
    lower = {name for name, metric in metrics.METRICS.items() if not metric.higher_is_better}
    assert lower == {"MSE", "Nabf"}


def test_pictures_may_be_read_only_and_strided() -> None:
    wide = [np.repeat(picture, 2, axis=1) for picture in generated()]
    for picture in wide:
        picture.flags.writeable = False
    strided = [picture[:, ::2] for picture in wide]
    assert metrics.evaluate(*strided) == pytest.approx(metrics.evaluate(*generated()), rel=1e-12)


def test_the_sources_are_exchangeable() -> None:
    fused, infrared, visible = generated()
    exchanged = metrics.evaluate(fused, visible, infrared)
    assert exchanged == pytest.approx(metrics.evaluate(fused, infrared, visible), rel=1e-12)


@pytest.mark.parametrize("name", ["VIF", "Qabf", "SCD"])
def test_a_source_and_the_fused_picture_are_not_exchangeable(name: str) -> None:
    fused, infrared, visible = generated()
    there = metrics.evaluate(fused, infrared, visible, name)[name]
    back = metrics.evaluate(infrared, fused, visible, name)[name]
    assert abs(there - back) > 0.01


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_three_equal_pictures_have_the_best_value(seed: int) -> None:
    picture = noise(seed)
    values = metrics.evaluate(picture, picture, picture)
    assert values["SSIM"] == pytest.approx(2.0, rel=1e-12)
    assert values["VIF"] == pytest.approx(2.0, rel=1e-9)
    assert values["MI"] == pytest.approx(2.0 * values["EN"], rel=1e-12)
    assert values["CC"] == pytest.approx(1.0, rel=1e-12)
    assert values["SCD"] == 0.0
    assert values["Nabf"] == 0.0
    assert values["MSE"] == 0.0
    assert values["PSNR"] == math.inf
    # Both sigmoids at direction 1 and at strength 1, the least that an edge of bytes has, up to any strength.
    most = 0.9994 * 0.9879 / (1 + math.exp(-22 * 0.2))
    assert most / (1 + math.exp(-15 * 0.5)) - 1e-12 <= values["Qabf"] <= most + 1e-12


@given(st.integers(0, 2**32 - 1), st.integers(0, 255), st.sampled_from([0, 1, 2]))
@settings(max_examples=30, deadline=None)
def test_values_stay_in_their_ranges(seed: int, level: int, which_is_flat: int) -> None:
    triple = [noise(seed + k) for k in range(3)]
    triple[which_is_flat] = flat(level)
    values = metrics.evaluate(*triple)
    assert 0.0 <= values["EN"] <= 8.0
    assert 0.0 <= values["SD"] <= 127.5
    assert 0.0 <= values["SF"] <= 255.0 * math.sqrt(2.0)
    assert 0.0 <= values["MI"] <= 2.0 * values["EN"] + 1e-12
    assert -1.0 <= values["CC"] <= 1.0
    assert -2.0 <= values["SCD"] <= 2.0
    assert -2.0 <= values["SSIM"] <= 2.0
    assert 0.0 <= values["VIF"] <= 2.0
    assert 0.0 <= values["Qabf"] <= 0.9754
    assert 0.0 <= values["Nabf"] <= 1.0
    assert 0.0 < values["MSE"] <= 1.0
    assert 0.0 <= values["PSNR"] < math.inf


@pytest.mark.parametrize("level", [0, 1, 127, 255])
def test_three_flat_pictures_carry_nothing(level: int) -> None:
    values = metrics.evaluate(flat(level), flat(level), flat(level))
    for name in ("EN", "SD", "SF", "AG", "MI", "CC", "SCD", "VIF", "Nabf", "MSE"):
        assert values[name] == 0.0
        assert math.copysign(1.0, values[name]) == 1.0
    assert values["SSIM"] == pytest.approx(2.0, rel=1e-12)


def test_a_flat_source_adds_nothing_and_leaves_the_other() -> None:
    fused, infrared, _ = generated()
    values = metrics.evaluate(fused, infrared, flat(200))
    doubled = metrics.evaluate(fused, infrared, infrared)
    assert values["VIF"] == pytest.approx(doubled["VIF"] / 2.0, rel=1e-12)
    assert values["MI"] == pytest.approx(doubled["MI"] / 2.0, rel=1e-12)
    assert values["CC"] == pytest.approx(doubled["CC"] / 2.0, rel=1e-12)


def test_one_pixel_makes_a_source_that_is_not_flat() -> None:
    picture = flat(254)
    picture[0, 0] = 255
    # Nearly all of the picture is flat, so rounding shows more than elsewhere.
    assert metrics.vif(picture, picture, picture) == pytest.approx(2.0, abs=1e-3)
    assert metrics.vif(flat(254), picture, picture) == 0.0


def test_a_flat_fused_picture_keeps_nothing() -> None:
    _, infrared, visible = generated()
    values = metrics.evaluate(flat(90), infrared, visible)
    assert [values[name] for name in ("EN", "SD", "SF", "AG", "MI", "CC", "VIF")] == [0.0] * 7


def test_qabf_of_two_black_sources_is_zero_and_of_flat_ones_is_the_border() -> None:
    assert metrics.qabf(generated()[0], flat(0), flat(0)) == 0.0
    assert metrics.qabf(flat(9), flat(9), flat(9)) == pytest.approx(0.9754, abs=1e-3)


def test_more_contrast_than_the_sources_lifts_vif_beyond_two() -> None:
    picture = (noise(1) // 4 + 96).astype(np.uint8)
    enhanced = (picture.astype(int) * 3 // 2 - 64).astype(np.uint8)
    assert metrics.vif(enhanced, picture, picture) > 2.0


def test_a_negative_has_a_negative_ssim() -> None:
    picture = noise(1)
    assert metrics.ssim(255 - picture, picture, picture) < 0.0


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ContractError, match=r"no metric 'ssim'; the nearest is 'SSIM', all are: EN, SD"):
        metrics.evaluate(*generated(), ["EN", "ssim"])
    with pytest.raises(ContractError, match="nearest is 'Qabf'"):
        metrics.evaluate(*generated(), "Q_abf")


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("wrong", "came"),
    [
        (np.zeros((44, 48), np.float32), r"float32 of shape \(44, 48\)"),
        (np.zeros((44, 48), np.uint16), r"uint16 of shape \(44, 48\)"),
        (np.zeros((44, 48), bool), r"bool of shape \(44, 48\)"),
        (np.zeros((44, 48, 3), np.uint8), r"uint8 of shape \(44, 48, 3\)"),
        (np.zeros((44 * 48,), np.uint8), r"uint8 of shape \(2112,\)"),
        ([[0]], "list"),
        (None, "NoneType"),
    ],
)
def test_anything_but_bytes_of_two_axes_is_refused(which: int, wrong: U8, came: str) -> None:
    triple = list(generated())
    triple[which] = wrong
    name = ("fused", "infrared", "visible")[which]
    with pytest.raises(
        ContractError, match=rf"^evaluate: expected the {name} picture as a uint8 array .* got {came};"
    ):
        metrics.evaluate(*triple)


def test_a_size_mismatch_names_both_sizes() -> None:
    fused, infrared, visible = generated()
    with pytest.raises(ContractError, match="got fused 48x44 and visible 47x44"):
        metrics.evaluate(fused, infrared, visible[:, 1:])
    with pytest.raises(ContractError, match=r"^MI: .* got fused 48x44 and infrared 48x43"):
        metrics.mi(fused, infrared[1:], visible)


@pytest.mark.parametrize(
    ("name", "smallest_px"), [(n, m.smallest_side_px) for n, m in metrics.METRICS.items()]
)
def test_each_metric_works_at_its_smallest_side_and_refuses_one_pixel_less(
    name: str, smallest_px: int
) -> None:
    triple = noises(smallest_px, smallest_px)
    assert math.isfinite(metrics.evaluate(*triple, name)[name])
    for height_px, width_px in ((smallest_px - 1, smallest_px), (smallest_px, smallest_px - 1)):
        with pytest.raises(ContractError, match=f"at least {smallest_px}x{smallest_px} pixels"):
            metrics.evaluate(*noises(height_px, width_px), name)


def test_vif_needs_41_pixels_and_says_so_before_anything_is_computed() -> None:
    triple = noises(41, 40)
    with pytest.raises(ContractError, match=r"^VIF: expected pictures of at least 41x41 pixels, got 40x41 "):
        metrics.evaluate(*triple)
    assert "SSIM" in metrics.evaluate(*triple, [name for name in metrics.METRICS if name != "VIF"])


def test_an_empty_picture_is_refused() -> None:
    empty = np.zeros((0, 48), np.uint8)
    with pytest.raises(ContractError, match="at least 1x1 pixels, got 48x0"):
        metrics.evaluate(empty, empty, empty, "EN")
