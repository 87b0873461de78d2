from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_train.ldfusion import LdFusion, LdFusionShape


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def pictures(count: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    infrared, visible = torch.rand(2, count, 1, height, width)
    return infrared, visible


def network(width: int, style: bool) -> LdFusion:
    torch.manual_seed(1)
    return LdFusion(LdFusionShape(width, style)).eval().requires_grad_(False)


# Counted from the released code and the released weights: shared/facts/paper_and_peers.md 1.3.
@pytest.mark.parametrize(
    ("width", "style", "expected"), [(16, True, 5_776_977), (16, False, 2_604_225), (8, False, 652_385)]
)
def test_has_the_published_number_of_parameters(width: int, style: bool, expected: int) -> None:
    assert parameters(network(width, style)) == expected


def test_each_part_has_the_published_number_of_parameters() -> None:
    full = network(16, True)
    encoder, decoder = full.encoder, full.decoder
    assert parameters(encoder.content_encoder1) + parameters(encoder.content_encoder2) == 1_526_784
    assert parameters(encoder.style_encoder1) + parameters(encoder.style_encoder2) == 215_952
    assert parameters(decoder.mlp) == 596_480
    assert parameters(decoder.model_local) == 2_360_320
    assert parameters(decoder.model_up) == 1_077_441
    lite = network(8, False)
    assert parameters(lite.encoder.content_encoder1) == parameters(lite.encoder.content_encoder2) == 191_232
    assert parameters(lite.decoder) == 269_921


@pytest.mark.parametrize("style", [True, False])
@settings(max_examples=20, deadline=None)
@given(height=st.integers(16, 71), width=st.integers(16, 71))
def test_the_fused_picture_has_the_size_of_the_pictures_and_lies_in_0_to_1(
    style: bool, height: int, width: int
) -> None:
    fused = network(2, style)(*pictures(1, height, width))
    assert fused.shape == (1, 1, height, width)
    assert 0.0 <= float(fused.min()) < float(fused.max()) <= 1.0


@pytest.mark.parametrize("style", [True, False])
def test_pictures_of_a_batch_do_not_mix(style: bool) -> None:
    model = network(4, style)
    infrared, visible = pictures(2, 40, 48)
    together = model(infrared, visible)
    alone = torch.cat([model(infrared[i : i + 1], visible[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(alone[0], alone[1])


def test_encoder_1_sees_the_visible_picture() -> None:
    model = network(2, True)
    seen: dict[str, Tensor] = {}
    for name, module in model.encoder.named_children():
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
    infrared, visible = pictures(1, 32, 32)
    model(infrared, visible)
    assert torch.equal(seen["content_encoder1"], visible)
    assert torch.equal(seen["style_encoder1"], visible)
    assert torch.equal(seen["content_encoder2"], infrared)
    assert torch.equal(seen["style_encoder2"], infrared)


def test_the_style_sets_offset_first_then_scale_block_after_block() -> None:
    """Against a decoder written down anew: MUNIT's assign_adain_params, which LDFusion took over.

    For every AdaIN layer in turn the first C numbers of the MLP are the bias, the next C the weight.
    """
    model = network(2, True)
    infrared, visible = pictures(2, 32, 40)
    content, style = model.encoder(infrared, visible)
    weights = model.decoder.state_dict()
    channels = content.shape[1]
    numbers = style.flatten(1)
    for layer in (0, 2, 4):
        numbers = F.linear(numbers, weights[f"mlp.model.{layer}.weight"], weights[f"mlp.model.{layer}.bias"])
        numbers = numbers if layer == 4 else numbers.clamp(min=0)
    assert numbers.shape == (2, 2 * 2 * 2 * channels)
    chunks = iter(numbers.split(channels, dim=1))
    expected = content
    for block in (0, 1):
        branch = expected
        for layer in (1, 5):
            name = f"model_local.{block}.block.{layer}"
            padded = F.pad(branch, (1, 1, 1, 1), mode="reflect")
            branch = F.conv2d(padded, weights[f"{name}.weight"], weights[f"{name}.bias"])
            bias, weight = next(chunks), next(chunks)
            deviation, mean = torch.std_mean(branch, dim=(2, 3), keepdim=True, correction=0)
            branch = (branch - mean) / (deviation.square() + 1e-5).sqrt()
            branch = branch * weight[..., None, None] + bias[..., None, None]
            branch = branch.clamp(min=0) if layer == 1 else branch
        expected = expected + branch
    found: list[Tensor] = []
    model.decoder.model_local.register_forward_hook(lambda module, inputs, output: found.append(output))
    model.decoder(content, style)
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_the_decoders_layer_norm_is_the_published_one() -> None:
    """Deviation over channels and pixels with N - 1, eps added to it and not to the variance."""
    model = network(4, False)
    norm = model.decoder.model_up.get_submodule("1")
    gamma, beta = norm.get_parameter("gamma"), norm.get_parameter("beta")
    nn.init.uniform_(gamma, 0.5, 2.0)
    nn.init.uniform_(beta, -1.0, 1.0)
    x = torch.randn(2, 32, 5, 7) * 1e-4
    expected = torch.empty_like(x)
    for index in range(2):
        values = x[index].double().numpy()
        normal = (values - values.mean()) / (values.std(ddof=1) + 1e-5)
        affine = normal * gamma[:, None, None].numpy() + beta[:, None, None].numpy()
        expected[index] = torch.from_numpy(affine)
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)


def test_without_the_style_branch_a_sigmoid_ends_it_and_with_it_a_tanh() -> None:
    assert isinstance(network(2, False).decoder.model_up[-1], nn.Sigmoid)
    assert isinstance(network(2, True).decoder.model_up[-1], nn.Tanh)
