from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.errors import ContractError
from irvis_train.degrade import INFRARED, VISIBLE, Degradation, degrade_pair, gaussian

REGISTRIES: Mapping[str, Mapping[str, Degradation]] = {"visible": VISIBLE, "infrared": INFRARED}
ALL = [(sensor, name) for sensor, registry in REGISTRIES.items() for name in registry]
each = pytest.mark.parametrize(("sensor", "name"), ALL)


def scenes(count: int = 2, height: int = 48, width: int = 64) -> Tensor:
    """Shapes of several sizes, away from black and white, so that clipping hides nothing."""
    generator = torch.Generator().manual_seed(5)
    planes = torch.zeros(count, 1, height, width)
    for side in (4, 8, 16):
        coarse = torch.rand((count, 1, side, side), generator=generator)
        planes += F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return (0.2 + 0.2 * planes).clamp(0.0, 1.0)


def damaged(sensor: str, name: str, severity: float, planes: Tensor, seed: int = 3) -> Tensor:
    return REGISTRIES[sensor][name](planes, severity, np.random.default_rng(seed))


@each
def test_severity_zero_is_the_identity(sensor: str, name: str) -> None:
    planes = scenes()
    assert torch.equal(damaged(sensor, name, 0.0, planes), planes)


@each
def test_the_smallest_severity_does_almost_nothing(sensor: str, name: str) -> None:
    planes = scenes()
    assert (damaged(sensor, name, 1e-3, planes) - planes).abs().mean() < 2e-3


@each
def test_damage_grows_with_severity(sensor: str, name: str) -> None:
    planes = scenes()
    damage = [float((damaged(sensor, name, step / 6, planes) - planes).square().mean()) for step in range(7)]
    assert damage == sorted(damage)
    assert all(later > 1.1 * earlier for earlier, later in itertools.pairwise(damage))
    assert damage[-1] > 3e-4


@each
@given(st.floats(0.0, 1.0), st.integers(0, 2**32), st.integers(16, 40), st.integers(16, 40))
@settings(max_examples=15, deadline=None)
def test_pictures_stay_pictures(
    sensor: str, name: str, severity: float, seed: int, height: int, width: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    planes = torch.rand((2, 1, height, width), generator=random).round()
    before = planes.clone()
    found = damaged(sensor, name, severity, planes, seed)
    assert found.shape == planes.shape
    assert found.dtype == torch.float32
    assert float(found.min()) >= 0.0
    assert float(found.max()) <= 1.0
    assert torch.equal(planes, before)
    assert torch.equal(found, damaged(sensor, name, severity, planes, seed))


def test_shift_moves_by_pixels_and_keeps_the_rest() -> None:
    """The best integer shift back is found by trying; the direction is random, its length is 3 px at most."""
    planes = scenes(1, 96, 96)
    for seed in range(4):
        found = damaged("infrared", "shift", 1.0, planes, seed)
        errors = {}
        for back in itertools.product(range(-5, 6), repeat=2):
            difference = found.roll(back, (2, 3)) - planes
            errors[back] = float(difference[..., 8:-8, 8:-8].square().mean())
        best = min(errors, key=lambda shift: errors[shift])
        assert 2.0 <= float(np.hypot(best[0], best[1])) <= 4.3
        assert errors[best] < 0.1 * errors[0, 0]


def test_fixed_pattern_stands_in_columns() -> None:
    flat = torch.full((1, 1, 200, 60), 0.5)
    found = damaged("infrared", "fixed_pattern", 0.5, flat)
    assert found.mean(dim=2).std() > 4 * found.mean(dim=3).std()


def test_noise_grows_with_the_light_and_dark_takes_the_light() -> None:
    grey = torch.cat([torch.full((1, 1, 64, 64), 0.15), torch.full((1, 1, 64, 64), 0.6)])
    shot = damaged("visible", "noise", 0.6, grey)
    assert shot[1].std() > 1.3 * shot[0].std()
    assert damaged("visible", "dark", 1.0, grey)[1].mean() < 0.1


def test_fog_brightens_the_far_end_more() -> None:
    black = torch.zeros((4, 1, 64, 64))
    found = damaged("visible", "fog", 0.7, black)
    assert (found[:, :, :8].mean((1, 2, 3)) > 1.3 * found[:, :, -8:].mean((1, 2, 3))).all()


def test_motion_smears_a_point_into_a_line() -> None:
    point = torch.zeros((1, 1, 41, 41))
    point[..., 20, 20] = 1.0
    found = damaged("visible", "motion", 1.0, point)[0, 0].double()
    places = torch.stack(torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")).double() - 20
    covariance = torch.einsum("ihw,jhw,hw->ij", places, places, found)
    short, long = torch.linalg.eigvalsh(covariance)
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    # A line of 17 px has the variance 17^2 / 12; spreading over four pixels adds up to 1/4.
    assert float(long) == pytest.approx(17**2 / 12, rel=0.08)
    assert float(short) < 0.3


def test_a_gaussian_keeps_the_mean_and_its_width() -> None:
    point = torch.zeros((1, 1, 41, 41))
    point[..., 20, 20] = 1.0
    found = gaussian(point, 2.5)[0, 0].double()
    places = torch.arange(41.0).double() - 20
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float((found.sum(0) * places**2).sum()) == pytest.approx(2.5**2, rel=0.02)


def test_a_pair_gets_one_or_two_degradations_and_says_which() -> None:
    infrared, visible = scenes(40), scenes(40).flip(-1)
    found_infrared, found_visible, names = degrade_pair(infrared, visible, np.random.default_rng(2))
    again = degrade_pair(infrared, visible, np.random.default_rng(2))
    assert torch.equal(found_infrared, again[0])
    assert torch.equal(found_visible, again[1])
    assert names == again[2]
    counts = {len(name.split("+")) for name in names}
    assert counts == {1, 2}
    for index, name in enumerate(names):
        parts = [tuple(part.split(".")) for part in name.split("+")]
        assert all(part in ALL for part in parts)
        sensors = {sensor for sensor, _ in parts}
        for sensor, found, before in (
            ("infrared", found_infrared, infrared),
            ("visible", found_visible, visible),
        ):
            assert sensor in sensors or torch.equal(found[index], before[index])
    changed = [not torch.equal(found_visible[index], visible[index]) for index in range(40)]
    assert sum(changed) > 0.9 * sum("visible" in name for name in names)
    assert {part for name in names for part in name.split("+")} == {".".join(part) for part in ALL}


def test_a_pair_at_severity_zero_is_left_alone() -> None:
    infrared, visible = scenes(), scenes().flip(-1)
    found_infrared, found_visible, _ = degrade_pair(infrared, visible, np.random.default_rng(1), 0.0)
    assert torch.equal(found_infrared, infrared)
    assert torch.equal(found_visible, visible)


@pytest.mark.parametrize("severity", [-0.1, 1.1, float("nan")])
def test_a_severity_beyond_its_range_is_refused(severity: float) -> None:
    with pytest.raises(ContractError, match="severity: expected a number from 0 to 1, got"):
        VISIBLE["blur"](scenes(), severity, np.random.default_rng(0))


def test_colour_planes_are_refused() -> None:
    with pytest.raises(ContractError, match=r"expected the shape \(N, 1, H, W\), got \(2, 3, 16, 16\)"):
        INFRARED["noise"](torch.zeros(2, 3, 16, 16), 0.5, np.random.default_rng(0))
