from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_train.modulation import (
    DEVIATION_FLOOR,
    FEATURE_CLIP,
    INPUT_CLIP,
    LOG_SCALE_CLIP,
    SIZE_FLOOR,
    SQUARE_FLOOR,
    Modulation,
    SceneFeatures,
    context_statistics,
    modulated,
)

from .scenes import SIDE, scenes

LAYERS = {"a": 3, "b": 5, "c": 2}
STEPS = (1, 2, 4, 8)
DIRECTIONS = ("right", "down", "around")
# The features in their order: squares and sizes of what each filter finds, size by size and picture by
# picture; the deviations, the means, and the tails of the histograms.
DETAILS = [(step, picture, where) for step in STEPS for picture in range(2) for where in DIRECTIONS]
DEVIATIONS = slice(2 * len(DETAILS), 2 * len(DETAILS) + 2)
MEANS = slice(DEVIATIONS.stop, DEVIATIONS.stop + 2)
COUNT = 68


def made_by(modulation: Modulation, context_n2hw: Tensor) -> dict[str, tuple[Tensor, Tensor | None]]:
    with torch.no_grad():
        made = modulation(context_n2hw, *context_statistics(context_n2hw))
    return dict(zip(modulation.layers, made, strict=True))


def features_of(context_n2hw: Tensor) -> Tensor:
    """(N, 68)."""
    with torch.no_grad():
        features: Tensor = SceneFeatures()(context_n2hw, *context_statistics(context_n2hw))
    return features.flatten(1)


def differences(normal_n2hw: Tensor, step: int) -> Tensor:
    """Between means over step x step, of the infrared picture, then of the visible one: (N, 2, 3, h, w).

    From each but the outermost to its right, downwards, and from the mean of the nine around it.
    """
    means = F.avg_pool2d(normal_n2hw, step)
    inner = means[..., 1:-1, 1:-1]
    around = F.avg_pool2d(means, 3, 1)
    return torch.stack([means[..., 1:-1, 2:] - inner, means[..., 2:, 1:-1] - inner, inner - around], dim=2)


def test_context_statistics_are_mean_and_floored_deviation() -> None:
    context = scenes(2)
    context[1, 1] = 7.0
    mean, deviation = context_statistics(context)
    planes = context.double().numpy()
    np.testing.assert_allclose(mean[..., 0, 0], planes.mean(axis=(2, 3)), rtol=1e-5)
    floored = np.sqrt(planes.var(axis=(2, 3)) + DEVIATION_FLOOR**2)
    np.testing.assert_allclose(deviation[..., 0, 0], floored, rtol=1e-5)
    assert float(deviation[1, 1]) == DEVIATION_FLOOR == 8.0


@pytest.mark.parametrize("step", STEPS)
def test_filters_are_differences_of_means(step: int) -> None:
    planes = torch.randn(2, 2, SIDE, SIDE)
    filters = SceneFeatures().details[STEPS.index(step)]
    with torch.no_grad():
        found = filters(planes)
    expected = differences(planes, step)
    assert expected.shape[-2:] == (SIDE // step - 2,) * 2
    torch.testing.assert_close(found, expected.flatten(1, 2), rtol=1e-4, atol=1e-5)


def test_features_are_energies_levels_and_tails() -> None:
    """All 68, computed anew, in their order."""
    context = scenes(5)
    context[4] = context[4].mean(dim=(1, 2), keepdim=True)
    # A small bright spot lies beyond the clip of the thumbnails.
    context[3, 0] = 30.0
    context[3, 0, 20:22, 20:22] = 250.0
    planes = context.double()
    mean, deviation = context_statistics(planes)
    normal = ((planes - mean) / deviation).clamp(-INPUT_CLIP, INPUT_CLIP)
    assert float(normal.max()) == INPUT_CLIP
    squares, sizes = [], []
    for step in STEPS:
        found = differences(normal, step)
        squares.append(found.square().mean(dim=(3, 4)).flatten(1))
        sizes.append(found.abs().mean(dim=(3, 4)).flatten(1))
    bounds = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.5])[:, None, None]
    tails = (normal[:, :, None] - bounds).clamp(min=0.0).mean(dim=(3, 4))
    expected = torch.cat(
        [
            (torch.cat(squares, dim=1) + SQUARE_FLOOR).log(),
            (torch.cat(sizes, dim=1) + SIZE_FLOOR).log(),
            deviation.flatten(1).log(),
            mean.flatten(1) / 128.0 - 1.0,
            tails.flatten(1),
        ],
        dim=1,
    )
    found = features_of(context)
    assert found.shape == (5, COUNT)
    assert SceneFeatures().count == COUNT
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("level", [0.0, 100.0, 255.0])
def test_features_of_a_flat_thumbnail_are_finite(level: float, dtype: torch.dtype) -> None:
    """In the half precision of the FP16 files too: what is added to the energies is not lost there."""
    context = torch.full((1, 2, SIDE, SIDE), level, dtype=dtype)
    mean, deviation = (torch.full((1, 2, 1, 1), value, dtype=dtype) for value in (level, DEVIATION_FLOOR))
    with torch.no_grad():
        features = SceneFeatures().to(dtype)(context, mean, deviation).flatten()
    assert torch.isfinite(features).all()
    count = len(DETAILS)
    flat = [math.log(SQUARE_FLOOR)] * count + [math.log(SIZE_FLOOR)] * count
    torch.testing.assert_close(features[: 2 * count].float(), torch.tensor(flat), rtol=2e-3, atol=0)


def test_contrast_and_brightness_change_the_level_and_the_deviation_alone() -> None:
    """A scaled and shifted thumbnail is the same scene, where its statistics go along with it."""
    context = scenes(4)
    mean, deviation = context_statistics(context)
    times, plus = torch.tensor([0.5, 3.0])[:, None, None], torch.tensor([20.0, -40.0])[:, None, None]
    features = SceneFeatures()
    with torch.no_grad():
        before = features(context, mean, deviation).flatten(1)
        after = features(context * times + plus, mean * times + plus, deviation * times).flatten(1)
    alike = torch.ones(COUNT, dtype=torch.bool)
    alike[DEVIATIONS] = alike[MEANS] = False
    torch.testing.assert_close(after[:, alike], before[:, alike], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(after[:, DEVIATIONS], before[:, DEVIATIONS] + times.flatten().log())
    shifted = (mean * times + plus).flatten(1) / 128.0 - 1.0
    torch.testing.assert_close(after[:, MEANS], shifted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("axis", "other"), [(3, "right"), (2, "down")])
def test_a_mirrored_thumbnail_has_the_same_features(axis: int, other: str) -> None:
    """But for the differences along the mirrored axis: those from the first of a row are not taken."""
    context = scenes(3)
    before, after = features_of(context), features_of(context.flip(axis))
    alike = torch.ones(COUNT, dtype=torch.bool)
    places = torch.tensor([where == other for _, _, where in DETAILS])
    alike[: 2 * len(DETAILS)] = ~places.repeat(2)
    torch.testing.assert_close(after[:, alike], before[:, alike], rtol=1e-3, atol=1e-3)
    # Nor are the others far off: one pair of a row is exchanged for another.
    fine = places & torch.tensor([step == 1 for step, _, _ in DETAILS])
    assert int(fine.sum()) == 2
    found = (after - before)[:, : len(DETAILS)][:, fine]
    assert float(found.abs().max()) < 0.3
    assert float(found.abs().min()) > 0.0


def test_rows_and_columns_exchanged_exchange_right_and_down() -> None:
    context = scenes(3)
    before, after = features_of(context), features_of(context.transpose(2, 3))
    swapped = {"right": "down", "down": "right", "around": "around"}
    order = [DETAILS.index((step, picture, swapped[where])) for step, picture, where in DETAILS]
    order += [len(DETAILS) + place for place in order] + list(range(DEVIATIONS.start, COUNT))
    torch.testing.assert_close(after, before[:, order], rtol=1e-3, atol=1e-3)


def test_a_scenes_features_are_its_own() -> None:
    context = scenes(3)
    alone = torch.cat([features_of(scene[None]) for scene in context])
    torch.testing.assert_close(features_of(context), alone, rtol=1e-4, atol=1e-4)


def test_pictures_do_not_mix_in_the_features() -> None:
    """Each feature is of one picture: changing the other one does not change it."""
    context, other = scenes(8), scenes(8, seed=5)
    by_infrared, by_visible = (
        (features_of(torch.cat(planes, dim=1)) != features_of(context)).any(dim=0)
        for planes in ((other[:, :1], context[:, 1:]), (context[:, :1], other[:, 1:]))
    )
    assert torch.equal(by_infrared, ~by_visible)
    assert int(by_infrared.sum()) == COUNT // 2


def test_features_are_standardised_and_clipped() -> None:
    """A feature whose `inverse` is 0 says nothing."""
    modulation, context = Modulation(16, LAYERS, ()), scenes(4)
    features = features_of(context)
    silent = torch.arange(COUNT) == 7
    with torch.no_grad():
        modulation.centre.copy_(features[1][None, :, None, None])
        modulation.inverse.fill_(5.0)
        modulation.inverse[0, silent] = 0.0
        found = modulation.standardised(context, *context_statistics(context)).flatten(1)
    expected = 5.0 * (features - features[1])
    assert float(expected.min()) < -FEATURE_CLIP < FEATURE_CLIP < float(expected.max())
    torch.testing.assert_close(
        found[:, ~silent], expected[:, ~silent].clamp(-FEATURE_CLIP, FEATURE_CLIP), rtol=1e-4, atol=1e-3
    )
    assert bool(expected[:, silent].any())
    assert not found[:, silent].any()


def test_what_is_usual_is_kept_and_not_trained() -> None:
    modulation = Modulation(16, LAYERS, ())
    still = {name for name, parameter in modulation.named_parameters() if not parameter.requires_grad}
    assert still == {"centre", "inverse"}
    assert still <= modulation.state_dict().keys()


@pytest.mark.parametrize(
    ("with_offset", "offsets"),
    [
        (("a", "b", "c"), {"a": (10, 13), "b": (13, 18), "c": (18, 20)}),
        (("c", "a"), {"a": (10, 13), "c": (13, 15)}),
        (("b", "not one of them"), {"b": (10, 15)}),
        ((), {}),
    ],
)
def test_rows_give_the_scales_and_offsets_of_their_layer(
    with_offset: tuple[str, ...], offsets: dict[str, tuple[int, int]]
) -> None:
    """Scales first, then the offsets that there are, both in the layers' order."""
    modulation = Modulation(16, LAYERS, with_offset)
    rows = 10 + sum(last - first for first, last in offsets.values())
    assert modulation.leave.out_channels == rows
    # A different value for every row, none of which is clipped.
    values = torch.linspace(-1.0, 1.0, rows)
    modulation.leave.bias = nn.Parameter(values)
    for name, (scale, offset) in made_by(modulation, scenes(2)).items():
        assert scale.shape == (2, LAYERS[name], 1, 1)
        torch.testing.assert_close(scale[1, :, 0, 0], values[modulation.scale_rows(name)].exp())
        assert (offset is None) is (name not in offsets)
        if offset is not None:
            assert torch.equal(offset[1, :, 0, 0], values[modulation.offset_rows(name)])
            assert modulation.offset_rows(name) == slice(*offsets[name])
        else:
            assert len(values[modulation.offset_rows(name)]) == 0
    assert [modulation.scale_rows(name) for name in LAYERS] == [slice(0, 3), slice(3, 8), slice(8, 10)]


def test_it_begins_as_the_identity() -> None:
    for scale, offset in made_by(Modulation(16, LAYERS, ["a"]), scenes(2)).values():
        assert torch.equal(scale, torch.ones_like(scale))
        assert offset is None or torch.equal(offset, torch.zeros_like(scale))


def test_scales_are_bounded_and_offsets_are_not() -> None:
    modulation = Modulation(16, LAYERS, ["b"])
    asked = torch.tensor([-50.0, -3.1, 0.5, 2.9, 50.0])
    with torch.no_grad():
        assert modulation.leave.bias is not None
        modulation.leave.bias[modulation.scale_rows("b")] = asked
        modulation.leave.bias[modulation.offset_rows("b")] = asked
    scale, offset = made_by(modulation, scenes(1))["b"]
    bound = LOG_SCALE_CLIP
    torch.testing.assert_close(scale.flatten(), torch.tensor([-bound, -bound, 0.5, 2.9, bound]).exp())
    assert offset is not None
    torch.testing.assert_close(offset.flatten(), asked)


@pytest.mark.parametrize("part", ["features", "hidden"])
def test_other_thumbnails_modulate_otherwise(part: str) -> None:
    """Through the features themselves, and through the hidden layer."""
    modulation = Modulation(16, LAYERS, LAYERS)
    columns = slice(0, COUNT) if part == "features" else slice(COUNT, None)
    nn.init.normal_(modulation.leave.weight[:, columns])
    assert modulation.leave.weight.shape[1] == COUNT + 16
    for scale, offset in made_by(modulation, scenes(2)).values():
        assert offset is not None
        for made in (scale, offset):
            assert float((made[0] - made[1]).abs().min()) > 0.0


def test_features_are_scaled_and_shifted_by_the_next_modulation() -> None:
    features, scale, offset = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 1, 1), torch.randn(2, 3, 1, 1)
    modulations = iter([(scale, offset), (scale, None)])
    assert torch.equal(modulated(features, modulations), features * scale + offset)
    assert torch.equal(modulated(features, modulations), features * scale)
    with pytest.raises(StopIteration):
        next(modulations)
