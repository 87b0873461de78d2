"""Teachers with random weights whose every part counts, and pairs for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from irvis_train.data import LabelledPair
from irvis_train.ldfusion import LdFusion, LdFusionShape

from .labelled_pairs import labelled


def blobs(height: int, width: int, seed: int) -> LabelledPair:
    """Two pictures that differ, coarse and fine; a student takes their mean, a whole level, as it is."""
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(2):
        coarse = torch.from_numpy(random.normal(size=(1, 1, height // 16, width // 16)))
        grey = 110.0 + 35.0 * F.interpolate(coarse, size=(height, width), mode="bicubic").numpy()[0, 0]
        grey += random.normal(scale=8.0, size=(height, width))
        grey += 110.0 - grey.mean()
        pictures.append(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    return labelled(*pictures)


def random_teacher(width: int, seed: int = 1) -> LdFusion:
    """Random weights, the decoder's norms with scales and offsets of their own, contrast in the output."""
    torch.manual_seed(seed)
    teacher = LdFusion(LdFusionShape(width=width, style=False)).eval().requires_grad_(False)
    for name, parameter in teacher.named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.6, 1.4)
        elif name.endswith("beta"):
            nn.init.normal_(parameter, std=0.3)
        elif parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.2)
    last = teacher.decoder.model_up[10]
    assert isinstance(last, nn.Conv2d)
    last.weight *= 3.0
    return teacher
