from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from irvis_train.fidelity import gradient_term, intensity_term, sobel


def test_the_gradient_is_sobels() -> None:
    picture = np.random.default_rng(0).random((13, 17)).astype(np.float32)
    expected = sum(
        np.abs(cv2.Sobel(picture, cv2.CV_32F, *axis, ksize=3, borderType=cv2.BORDER_REPLICATE))
        for axis in ((1, 0), (0, 1))
    )
    found = sobel(torch.from_numpy(picture)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_terms_are_nothing_where_the_larger_source_is_met_and_pull_towards_it() -> None:
    random = torch.Generator().manual_seed(1)
    infrared = torch.rand(2, 1, 12, 12, generator=random)
    flat = torch.zeros_like(infrared)
    for term in (gradient_term, intensity_term):
        assert float(term(infrared, infrared, flat)) == 0.0
        assert float(term(infrared, flat, infrared)) == 0.0
    fused = torch.full_like(infrared, 0.3).requires_grad_(True)
    larger = intensity_term(fused, infrared, flat)
    assert float(larger) == pytest.approx(float((infrared - 0.3).abs().mean()), rel=1e-5)
    (gradient,) = torch.autograd.grad(larger, fused)
    assert bool((gradient[infrared > 0.3] < 0.0).all())
    assert bool((gradient[infrared < 0.3] > 0.0).all())
