"""The perceptual term: a fused picture's features against the stronger of its sources' features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .tensor_files import read_tensors

Features = Callable[[Tensor], list[Tensor]]
"""From pictures (N, 1, H, W) in [0, 1] to features, each (N, C, h, w)."""

VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512)
"""Channels of VGG-19's convolutions up to conv4_2; 0: a 2x2 maximum."""
VGG19_TAKEN = (6, 11, 22)
"""torchvision's numbers of the layers behind conv2_1, conv3_1 and conv4_2."""


def perceptual_loss(
    features: Features, fused: Tensor, visible: Tensor, infrared: Tensor, relative: bool
) -> Tensor:
    """Returns the sum over layers of MSE(phi(fused), max(phi(visible), phi(infrared))).

    Pictures are (N, 1, H, W) in [0, 1]; gradients reach `fused` alone. arXiv:2402.16267, the perception loss.
    `relative` divides each layer's error by its target's mean square, and the sum by the number of layers, so
    that one weight suits any network's scale of features.
    """
    with torch.no_grad():
        targets = [torch.maximum(*pair) for pair in zip(features(visible), features(infrared), strict=True)]
    errors = []
    for feature, target in zip(features(fused), targets, strict=True):
        error = F.mse_loss(feature, target)
        errors.append(error / target.square().mean().clamp(min=1e-8) if relative else error)
    total = torch.stack(errors).sum()
    return total / len(errors) if relative else total


class Vgg19Features(nn.Module):
    """conv2_1, conv3_1 and conv4_2 of VGG-19, frozen. Simonyan and Zisserman 2015, arXiv:1409.1556.

    After their ReLU, and of pictures that are not normalised: so they reach the published trainer, whose
    torchvision layers work in place and whose `norm` is off.
    """

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        """`tensors`: torchvision's, or more of them; KeyError or RuntimeError where they do not fit."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in VGG19_PLAN:
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.load_state_dict({name: tensors[name].float() for name in self.state_dict()})
        self.eval().requires_grad_(False)

    def forward(self, pictures_n1hw: Tensor) -> list[Tensor]:
        """Features (N, C, h, w) of pictures (N, 1, H, W) in [0, 1]; the channel is repeated."""
        values, taken = pictures_n1hw.expand(-1, 3, -1, -1), []
        for number, layer in enumerate(self.features):
            values = layer(values)
            if number in VGG19_TAKEN:
                taken.append(values)
        return taken


def load_vgg19(path: Path) -> Vgg19Features:
    """Returns the features from torchvision's weights: its .pth (weights_only=True), or .safetensors.

    ContractError, with the command that fetches them, where there is no such file or it is not whole.
    """
    advice = (
        f"run `curl -LO https://download.pytorch.org/models/{VGG19_FILE}` where there is a network "
        "and set vgg19_weights, or set perceptual_features='clip'"
    )
    if not path.is_file():
        raise ContractError(f"{path}: expected torchvision's VGG-19 weights, there is no such file; {advice}")
    try:
        if path.suffix == ".safetensors":
            return Vgg19Features(read_tensors(path, advice)[0])
        return Vgg19Features(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    except ContractError:
        raise
    except Exception as error:
        # Damaged pickles raise many kinds; foreign ones KeyError, RuntimeError, TypeError, AttributeError.
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ContractError(f"{path}: not torchvision's VGG-19 weights ({reason}); {advice}") from error
