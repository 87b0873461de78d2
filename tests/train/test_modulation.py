from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from irvis_train.modulation import Modulation, context_statistics, modulated


def thumbnails(count: int) -> Tensor:
    torch.manual_seed(2)
    return torch.rand(count, 2, 64, 64) * 255.0


def made_by(modulation: Modulation, context_n2hw: Tensor) -> list[tuple[Tensor, Tensor | None]]:
    with torch.no_grad():
        made: list[tuple[Tensor, Tensor | None]] = modulation(context_n2hw, *context_statistics(context_n2hw))
    return made


def test_context_statistics_are_mean_and_floored_deviation() -> None:
    context = thumbnails(2)
    context[1, 1] = 7.0
    mean, deviation = context_statistics(context)
    planes = context.double().numpy()
    np.testing.assert_allclose(mean[..., 0, 0], planes.mean(axis=(2, 3)), rtol=1e-5)
    np.testing.assert_allclose(deviation[..., 0, 0], np.sqrt(planes.var(axis=(2, 3)) + 64.0), rtol=1e-5)
    assert float(deviation[1, 1]) == 8.0


@pytest.mark.parametrize(
    ("has_offset", "offsets"),
    [
        ([True, True, True], [[10, 11, 12], [13, 14, 15, 16, 17], [18, 19]]),
        ([True, False, True], [[10, 11, 12], None, [13, 14]]),
        ([False, True, False], [None, [10, 11, 12, 13, 14], None]),
        ([False, False, False], [None, None, None]),
    ],
)
def test_scales_come_before_the_offsets_that_there_are(
    has_offset: list[bool], offsets: list[list[int] | None]
) -> None:
    modulation = Modulation(16, [3, 5, 2], has_offset)
    rows = 10 + sum(len(places) for places in offsets if places)
    assert modulation.leave.out_channels == rows
    modulation.leave.bias = torch.nn.Parameter(torch.arange(float(rows)))
    made = made_by(modulation, thumbnails(2))
    for (scale, offset), scales, places in zip(
        made, ([0, 1, 2], [3, 4, 5, 6, 7], [8, 9]), offsets, strict=True
    ):
        assert scale.shape == (2, len(scales), 1, 1)
        assert scale[1, :, 0, 0].tolist() == scales
        assert (offset is None) is (places is None)
        if offset is not None:
            assert offset.shape == scale.shape
            assert offset[1, :, 0, 0].tolist() == places


def test_it_begins_as_the_identity() -> None:
    for scale, offset in made_by(Modulation(16, [3, 5], [True, False]), thumbnails(2)):
        assert torch.equal(scale, torch.ones_like(scale))
        assert offset is None or torch.equal(offset, torch.zeros_like(scale))


def test_other_thumbnails_modulate_otherwise() -> None:
    modulation = Modulation(16, [4], [True])
    torch.nn.init.normal_(modulation.leave.weight)
    ((scale, offset),) = made_by(modulation, thumbnails(2))
    assert offset is not None
    for part in (scale, offset):
        assert float((part[0] - part[1]).abs().min()) > 0.0


def test_features_are_scaled_and_shifted_by_the_next_modulation() -> None:
    features, scale, offset = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 1, 1), torch.randn(2, 3, 1, 1)
    modulations = iter([(scale, offset), (scale, None)])
    assert torch.equal(modulated(features, modulations), features * scale + offset)
    assert torch.equal(modulated(features, modulations), features * scale)
    with pytest.raises(StopIteration):
        next(modulations)
