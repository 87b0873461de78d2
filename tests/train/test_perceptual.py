from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from irvis_runtime.errors import ContractError
from irvis_train.perceptual import Vgg19Features, load_vgg19, perceptual_loss
from irvis_train.tensor_files import write_tensors

vgg: Any = pytest.importorskip("torchvision.models.vgg")
FETCH = r"run `curl -LO https://download\.pytorch\.org/models/vgg19-dcbb9e9d\.pth`"


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """torchvision's convolutions of VGG-19 up to conv4_2, with random weights."""
    torch.manual_seed(1)
    layers: nn.Module = vgg.make_layers(vgg.cfgs["E"][:13])
    return layers


def weights_of(published: nn.Module) -> dict[str, Tensor]:
    return {f"features.{name}": tensor for name, tensor in published.state_dict().items()}


def test_features_are_those_that_reach_the_published_trainer(published: nn.Module, tmp_path: Path) -> None:
    picture = torch.rand(1, 1, 32, 40)
    # As there: captured at conv2_1, conv3_1, conv4_2, then changed by the ReLU behind, which works in place.
    values, expected = picture.repeat(1, 3, 1, 1), []
    with torch.no_grad():
        for number, layer in enumerate(published.children()):
            values = layer(values)
            if number in (5, 10, 21):
                expected.append(values)
    assert [feature.shape[1] for feature in expected] == [128, 256, 512]
    more = weights_of(published) | {"classifier.0.weight": torch.zeros(2, 2)}
    torch.save(more, tmp_path / "vgg19.pth")
    write_tensors(tmp_path / "vgg19.safetensors", more, {})
    for name in ("vgg19.pth", "vgg19.safetensors"):
        features = load_vgg19(tmp_path / name)
        assert not features.training
        assert not any(parameter.requires_grad for parameter in features.parameters())
        for feature, wanted in zip(features(picture), expected, strict=True):
            assert float(wanted.min()) == 0.0
            assert torch.allclose(feature, wanted, atol=1e-5)


def test_missing_damaged_and_foreign_weights_are_told_with_the_command(
    published: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ContractError, match=rf"none\.pth: expected torchvision's VGG-19.*{FETCH}"):
        load_vgg19(tmp_path / "none.pth")
    for suffix in (".pth", ".safetensors"):
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(b"broken")
        with pytest.raises(ContractError, match=FETCH) as error:
            load_vgg19(path)
        assert "\n" not in str(error.value)
    narrow = {name: tensor[:4] for name, tensor in weights_of(published).items()}
    other = {"conv1.weight": torch.zeros(3)}
    for tensors in (narrow, other, [1, 2], {"features.0.weight": "text"}):
        torch.save(tensors, tmp_path / "other.pth")
        with pytest.raises(ContractError, match=r"not torchvision's VGG-19 weights") as error:
            load_vgg19(tmp_path / "other.pth")
        assert "\n" not in str(error.value)


def ramps(pictures: Tensor) -> list[Tensor]:
    """Features that one can compute by hand."""
    return [pictures, 10.0 * pictures]


def test_the_target_is_the_stronger_source() -> None:
    fused, visible, infrared = (torch.rand(2, 1, 6, 6) for _ in range(3))
    error = (fused - torch.maximum(visible, infrared)).square().mean()
    plain = perceptual_loss(ramps, fused, visible, infrared, relative=False)
    assert float(plain) == pytest.approx(float(101.0 * error), rel=1e-5)
    relative = perceptual_loss(ramps, fused, visible, infrared, relative=True)
    expected = error / torch.maximum(visible, infrared).square().mean()
    assert float(relative) == pytest.approx(float(expected), rel=1e-5)
    stronger = torch.maximum(visible, infrared)
    assert float(perceptual_loss(ramps, stronger, visible, infrared, relative=True)) == 0.0


def test_gradients_reach_the_fused_picture_alone(published: nn.Module) -> None:
    features = Vgg19Features(weights_of(published))
    fused, visible, infrared = (torch.rand(1, 1, 16, 16, requires_grad=True) for _ in range(3))
    loss = perceptual_loss(features, fused, visible, infrared, relative=False)
    gradients = torch.autograd.grad(loss, (fused, visible, infrared), allow_unused=True)
    assert gradients[0] is not None
    assert float(gradients[0].abs().max()) > 0.0
    assert all(gradient is None for gradient in gradients[1:])
