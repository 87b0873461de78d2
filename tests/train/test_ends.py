from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from irvis_train.ends import BlockBack, FineBack, FineFront, space_to_depth, with_border
from irvis_train.modulation import Modulations

from .students import FINE, SHAPES, lively


def drawn(layers: dict[str, int]) -> Modulations:
    """A scale and an offset for each channel, always the same ones."""
    torch.manual_seed(4)
    return iter(
        [(torch.randn(1, channels, 1, 1), torch.randn(1, channels, 1, 1)) for channels in layers.values()]
    )


@settings(max_examples=20, deadline=None)
@given(
    block=st.sampled_from([2, 4]),
    channels=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
)
def test_folding_puts_rows_first_then_columns_then_channels(
    block: int, channels: int, rows: int, columns: int
) -> None:
    """As ONNX SpaceToDepth; pixel_unshuffle puts the channels first."""
    planes = torch.randn(2, channels, rows * block, columns * block)
    blocks = space_to_depth(planes, block)
    assert blocks.shape == (2, channels * block**2, rows, columns)
    for row in range(block):
        for column in range(block):
            place = (row * block + column) * channels
            assert torch.equal(blocks[:, place : place + channels], planes[..., row::block, column::block])


def test_one_channel_folds_as_pixel_shuffle_unfolds() -> None:
    picture = torch.randn(2, 1, 8, 12)
    assert torch.equal(F.pixel_shuffle(space_to_depth(picture, 4), 4), picture)


def test_a_fine_fronts_first_layer_sees_the_picture_reflected() -> None:
    """At its border it gives what it gives inside a picture that goes on as its reflection."""
    front = lively(FINE).infrared.front
    assert isinstance(front, FineFront)
    seen: list[Tensor] = []
    front.first.register_forward_hook(lambda module, taken, given: seen.append(given))
    picture = torch.randn(1, 1, 24, 32)
    around_px = 8
    wide = F.pad(picture, (around_px,) * 4, mode="reflect")
    for shown in (picture, wide):
        bordered = with_border(shown, front.border_px)
        features = front(bordered, drawn(front.modulated_layers()), space_to_depth)
        assert features.shape[-2:] == (shown.shape[-2] // 4, shown.shape[-1] // 4)
    found, expected = seen
    inner = slice(around_px // 2, -around_px // 2)
    assert found.shape[-2:] == (12, 16)
    torch.testing.assert_close(found, expected[..., inner, inner], rtol=1e-4, atol=1e-5)


def test_a_fine_back_draws_what_its_last_layer_sees_beyond_the_picture() -> None:
    """One deep position more, as its padding gives, is enough; with none the last block would differ."""
    student = lively(FINE)
    back = student.back
    assert isinstance(back, FineBack)
    assert back.padding == (2, 1, 2, 1)
    deep = torch.rand(1, 2 * FINE.deep_channels, 3, 4)
    picture = torch.zeros(1, 1, 24, 32)

    def drawn_with(more: int, blank: int = 0) -> Tensor:
        lifted = F.relu(F.pixel_shuffle(student.lift(F.pad(deep, (2, more, 2, more))), 2))
        kept = [slice(0, side - blank) for side in lifted.shape[-2:]]
        lifted = F.pad(lifted[..., kept[0], kept[1]], (0, blank, 0, blank))
        modulations = drawn(back.modulated_layers())
        fused: Tensor = back(lifted, picture, picture, modulations, space_to_depth)
        return fused[..., :24, :32]

    found = drawn_with(1)
    assert found.shape == picture.shape
    torch.testing.assert_close(found, drawn_with(3), rtol=1e-4, atol=1e-2)
    difference = (drawn_with(1, blank=2) - found).abs()[0, 0] > 1e-2
    assert not difference[:-4, :-4].any()
    assert bool(difference[-4:].any(dim=0).all())
    assert bool(difference[:, -4:].any(dim=1).all())


@pytest.mark.parametrize(("name", "reach"), [("blocks", 1), ("short blend", 0)])
def test_a_block_of_a_blend_sees_as_many_around_as_its_side_says(name: str, reach: int) -> None:
    """The layers before it see one more block each."""
    back = lively(SHAPES[name]).back
    assert isinstance(back, BlockBack)
    picture = torch.ones(1, 1, 20, 28)
    features = torch.rand(1, SHAPES[name].lift_channels, 5, 7)
    changed = features.clone()
    changed[..., 2, 3] += 1.0
    fused = [
        back(shown, picture, picture, drawn(back.modulated_layers()), space_to_depth)
        for shown in (features, changed)
    ]
    differs = F.pixel_unshuffle(fused[0] - fused[1], 4).abs().amax(dim=1)[0] > 0.0
    expected = torch.zeros(5, 7, dtype=torch.bool)
    expected[2 - 1 - reach : 4 + reach, 3 - 1 - reach : 5 + reach] = True
    assert torch.equal(differs, expected)
