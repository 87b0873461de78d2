from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from irvis_train import scene_fit
from irvis_train.modulation import LOG_SCALE_CLIP, Modulation, context_statistics
from irvis_train.scene_fit import FLAT, RIDGE, fit_modulation

from .scenes import scenes

LAYERS = {"a": 3, "b": 5, "c": 2}
COUNT, HIDDEN = 68, 16
Wanted = Mapping[str, tuple[Tensor, Tensor]]


def lively() -> Modulation:
    """Whose rows, hidden layer's columns and biases are all at random; the second layer has no offset."""
    torch.manual_seed(1)
    modulation = Modulation(HIDDEN, LAYERS, ("a", "c"))
    for parameter in modulation.leave.parameters():
        nn.init.normal_(parameter)
    return modulation


def made_by(modulation: Modulation, context_n2hw: Tensor) -> dict[str, tuple[Tensor, Tensor | None]]:
    """By layer the logarithms of the scales and the offsets, (N, C)."""
    with torch.no_grad():
        made = modulation(context_n2hw, *context_statistics(context_n2hw))
    return {
        name: (scale.flatten(1).log(), None if offset is None else offset.flatten(1))
        for name, (scale, offset) in zip(modulation.layers, made, strict=True)
    }


def standardised(modulation: Modulation, context_n2hw: Tensor) -> Tensor:
    with torch.no_grad():
        return modulation.standardised(context_n2hw, *context_statistics(context_n2hw)).flatten(1)


def drawn(count: int, names: tuple[str, ...] = tuple(LAYERS)) -> dict[str, tuple[Tensor, Tensor]]:
    """For each scene something that its features do not tell."""
    torch.manual_seed(3)
    logarithms, offsets = ({name: 0.3 * torch.randn(count, LAYERS[name]) for name in names} for _ in range(2))
    return {name: (logarithms[name], offsets[name]) for name in names}


def test_a_law_of_the_features_is_found_where_nothing_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """In other scenes too: more scenes than features, and a ridge of nearly none."""
    monkeypatch.setattr(scene_fit, "RIDGE", 1e-9)
    known, new = scenes(300), scenes(20, seed=9)
    modulation = lively()
    fit_modulation(modulation, known, drawn(len(known)))

    def law(context_n2hw: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        torch.manual_seed(4)
        features = standardised(modulation, context_n2hw)
        return {
            name: (
                0.2 + 0.05 * features @ torch.randn(COUNT, channels),
                -0.4 + 0.05 * features @ torch.randn(COUNT, channels),
            )
            for name, channels in LAYERS.items()
        }

    fit_modulation(modulation, known, law(known))
    for context in (known, new):
        expected, found = law(context), made_by(modulation, context)
        for name, (logarithms, offsets) in expected.items():
            assert 0.2 < float(logarithms.std()) < float(logarithms.abs().max()) < LOG_SCALE_CLIP
            torch.testing.assert_close(found[name][0], logarithms, rtol=0, atol=2e-3)
            offset = found[name][1]
            if offset is not None:
                torch.testing.assert_close(offset, offsets, rtol=0, atol=2e-3)
    assert found["b"][1] is None


def by_least_squares(features_nk: Tensor, values_nc: Tensor) -> Tensor:
    """What a line through the features that is held back by RIDGE says of them, by numpy.

    The squared weight is a row more for each feature, which wants nothing of it.
    """
    features, values = features_nk.double().numpy(), values_nc.double().numpy()
    centred, usual = features - features.mean(axis=0), values.mean(axis=0)
    rows = np.vstack([centred, np.sqrt(RIDGE * len(features)) * np.eye(COUNT)])
    wanted = np.vstack([values - usual, np.zeros((COUNT, values.shape[1]))])
    weight = np.linalg.lstsq(rows, wanted, rcond=None)[0]
    return torch.from_numpy(centred @ weight + usual).float()


@pytest.mark.parametrize("count", [2, 30, 200])
def test_the_fit_is_the_regularised_least_squares(count: int) -> None:
    """With fewer scenes than features too."""
    context, wanted, modulation = scenes(count), drawn(count), lively()
    fit_modulation(modulation, context, wanted)
    features = standardised(modulation, context)
    for name, found in made_by(modulation, context).items():
        for values, part in zip(wanted[name], found, strict=True):
            if part is None:
                continue
            expected = by_least_squares(features, values)
            assert float((expected - values.mean(dim=0)).abs().max()) > 0.02
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-4)


def test_scenes_seen_twice_change_nothing() -> None:
    context, wanted = scenes(12), drawn(12)
    once, twice = lively(), lively()
    fit_modulation(once, context, wanted)
    doubled = {name: (rows.repeat(2, 1), offsets.repeat(2, 1)) for name, (rows, offsets) in wanted.items()}
    fit_modulation(twice, context.repeat(2, 1, 1, 1), doubled)
    for name, tensor in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[name], tensor, rtol=1e-3, atol=1e-3, msg=name)


def test_features_are_counted_from_what_is_usual_in_these_scenes() -> None:
    """In deviations, but for one that hardly varies: no scene here has much that is so much above."""
    modulation, context = lively(), scenes(40)
    fit_modulation(modulation, context, {})
    with torch.no_grad():
        features = modulation.features(context, *context_statistics(context))
    torch.testing.assert_close(modulation.centre, features.mean(dim=0, keepdim=True))
    spread = features.std(dim=0, correction=0, keepdim=True)
    varies = spread > FLAT
    assert torch.equal(varies.flatten().logical_not().nonzero().flatten(), torch.tensor([COUNT - 1]))
    assert float(spread.min()) > 0.0
    expected = torch.where(varies, 1.0 / spread, 0.0)
    torch.testing.assert_close(modulation.inverse, expected, rtol=1e-3, atol=0)


def test_other_layers_rows_stay() -> None:
    modulation = lively()
    before = {name: tensor.clone() for name, tensor in modulation.state_dict().items()}
    fit_modulation(modulation, scenes(10), drawn(10, ("b", "c")))
    kept = [modulation.scale_rows("a"), modulation.offset_rows("a")]
    moved = [modulation.scale_rows("b"), modulation.scale_rows("c"), modulation.offset_rows("c")]
    for name, tensor in modulation.state_dict().items():
        if name.startswith("leave."):
            for rows in kept:
                assert torch.equal(tensor[rows], before[name][rows])
            for rows in moved:
                assert not (tensor[rows] == before[name][rows]).any()
        elif name not in ("centre", "inverse"):
            assert torch.equal(tensor, before[name]), name


def test_the_hidden_layer_is_silent_where_the_features_were_fitted() -> None:
    modulation = lively()
    fit_modulation(modulation, scenes(10), drawn(10, ("b",)))
    hidden = modulation.leave.weight[:, COUNT:]
    assert hidden.shape[1] == HIDDEN
    fitted = torch.zeros(len(hidden), dtype=torch.bool)
    fitted[modulation.scale_rows("b")] = True
    assert not hidden[fitted].any()
    assert bool((hidden[~fitted] != 0.0).all())


def test_what_never_varies_tells_nothing() -> None:
    """One infrared picture for all scenes: another one then changes nothing."""
    context, other = scenes(20), scenes(1, seed=8)
    context[:, 0] = context[0, 0]
    modulation = lively()
    fit_modulation(modulation, context, drawn(20))
    silent = modulation.inverse.flatten() == 0.0
    assert int(silent.sum()) == COUNT // 2
    elsewhere = context[:1].clone()
    elsewhere[0, 0] = other[0, 0]
    found, expected = made_by(modulation, elsewhere), made_by(modulation, context[:1])
    assert torch.equal(found["b"][0], expected["b"][0])
    elsewhere[0, 1] = other[0, 1]
    assert not torch.equal(made_by(modulation, elsewhere)["b"][0], expected["b"][0])


def test_one_scene_alone_gives_what_is_wanted_of_it_everywhere() -> None:
    modulation, wanted = lively(), drawn(1)
    fit_modulation(modulation, scenes(1), wanted)
    assert all(torch.isfinite(tensor).all() for tensor in modulation.state_dict().values())
    assert not modulation.inverse.any()
    for name, (logarithms, offsets) in made_by(modulation, scenes(3, seed=6)).items():
        torch.testing.assert_close(logarithms, wanted[name][0].expand(3, -1))
        assert (offsets is None) is (name == "b")
        if offsets is not None:
            torch.testing.assert_close(offsets, wanted[name][1].expand(3, -1))
