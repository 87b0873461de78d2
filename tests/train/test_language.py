from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irvis_runtime.errors import ContractError
from irvis_train.language import language_loss, patch_entropy, regularisation

RELATIVE = 1e-6
"""Against reference/language_loss.json, an independent float64 implementation."""


def doubles(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_rows(rows: int, seed: int, width: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64)


def three_texts() -> tuple[Tensor, Tensor, Tensor]:
    fused, visible, infrared = random_rows(3, seed=3)
    return fused, visible, infrared


def test_losses_have_the_reference_values(shared: Path) -> None:
    cases = json.loads((shared / "reference" / "language_loss.json").read_text())["cases"]
    assert cases
    for case in cases:
        fused, visible, infrared = (doubles(case[name]) for name in ("fused", "visible", "infrared"))
        objective, of_visible, of_infrared = (
            doubles(case[f"text_{name}"]) for name in ("objective", "visible", "infrared")
        )
        texts = (objective, of_visible, of_infrared)
        keep = torch.tensor(case["patch_keep"])
        patch = language_loss(doubles(case["fused_patches"]), visible, infrared, *texts, keep=keep)
        assert float(patch) == pytest.approx(case["patch_loss"], rel=RELATIVE)
        whole = language_loss(fused, visible, infrared, *texts)
        assert float(whole) == pytest.approx(case["global_loss"], rel=RELATIVE)
        angles = regularisation(fused, visible, infrared)
        assert float(angles) == pytest.approx(case["regularisation"], rel=RELATIVE)


def test_entropy_has_the_reference_values(shared: Path) -> None:
    cases = json.loads((shared / "reference" / "language_loss.json").read_text())["entropy"]
    assert cases
    for case in cases:
        patches = doubles(case["patches"])[:, None]
        for values in (patches, patches.float()):
            expected = pytest.approx(case["entropy_bits"], rel=RELATIVE, abs=1e-12)
            assert patch_entropy(values).tolist() == expected


def test_a_move_along_the_texts_costs_nothing_and_one_against_them_two() -> None:
    visible, infrared, text = torch.eye(4, dtype=torch.float64)[:3]
    texts = (text, visible, infrared)
    sources = (visible[None], infrared[None])
    assert float(language_loss(text[None], *sources, *texts)) == pytest.approx(0.0, abs=1e-12)
    # Texts that lead from each source to where the picture is not: the opposite of its moves.
    against = (visible + infrared - text, infrared, visible)
    loss = language_loss(text[None], *sources, *against)
    assert 1.0 < float(loss) <= 2.0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), crops=st.integers(1, 4), scale=st.floats(0.1, 50.0))
def test_lengths_of_embeddings_do_not_matter(seed: int, crops: int, scale: float) -> None:
    fused, visible, infrared, texts = (
        random_rows(rows, seed + index) for index, rows in enumerate((3 * crops, 3, 3, 3))
    )
    loss = float(language_loss(fused, visible, infrared, *texts))
    assert 0.0 <= loss <= 2.0
    assert float(language_loss(scale * fused, visible, scale * infrared, *texts)) == pytest.approx(loss)
    angles = float(regularisation(fused[:3], visible, infrared))
    assert float(regularisation(scale * fused[:3], visible, infrared)) == pytest.approx(angles)


def test_patches_belong_to_pictures_crop_major() -> None:
    fused, visible, infrared = (random_rows(rows, rows) for rows in (6, 2, 2))
    texts = three_texts()
    rows = [
        language_loss(fused[row : row + 1], visible[row % 2][None], infrared[row % 2][None], *texts)
        for row in range(6)
    ]
    together = language_loss(fused, visible, infrared, *texts)
    assert float(together) == pytest.approx(float(torch.stack(rows).mean()))
    keep = torch.tensor([True, False, False, True, False, False])
    kept = language_loss(fused, visible, infrared, *texts, keep=keep)
    # A rejected patch stays in the denominator.
    assert float(kept) == pytest.approx(float(rows[0] + rows[3]) / 6)
    assert float(language_loss(fused, visible, infrared, *texts, keep=keep.zero_())) == 0.0


def test_each_picture_may_have_texts_of_its_own() -> None:
    fused, visible, infrared = (random_rows(2, seed) for seed in (1, 2, 3))
    texts = [random_rows(2, seed) for seed in (4, 5, 6)]
    rows = [
        language_loss(
            fused[row][None], visible[row][None], infrared[row][None], *(text[row] for text in texts)
        )
        for row in range(2)
    ]
    loss = language_loss(fused, visible, infrared, *texts)
    assert float(loss) == pytest.approx(float(torch.stack(rows).mean()))


def test_a_picture_that_equals_a_source_has_a_bounded_gradient() -> None:
    visible, infrared, texts = (random_rows(rows, rows) for rows in (1, 2, 3))
    fused = visible.clone().requires_grad_()
    loss = language_loss(fused, visible, infrared[:1], *texts)
    (gradient,) = torch.autograd.grad(loss, fused)
    assert gradient.isfinite().all()
    assert float(gradient.norm()) < 1e5


def test_shapes_that_do_not_fit_are_named() -> None:
    fused, visible, texts = random_rows(3, 1), random_rows(2, 2), three_texts()
    with pytest.raises(ContractError, match=r"fused \(3, 16\), visible \(2, 16\), infrared \(2, 16\)"):
        language_loss(fused, visible, visible, *texts)
    with pytest.raises(ContractError, match=r"expected visible and infrared \(N, D\)"):
        regularisation(fused, visible, fused)
    with pytest.raises(ContractError, match=r"keep: expected one factor for each of 2 rows, got \(3,\)"):
        language_loss(visible, visible, visible, *texts, keep=torch.ones(3))
    with pytest.raises(ContractError, match="not empty"):
        patch_entropy(torch.zeros(0, 1, 8, 8))


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 2000), side=st.integers(1, 40))
def test_entropy_is_that_of_numpy_histograms(seed: int, levels: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, levels + 1, (3, 1, side, side)) / levels
    expected = []
    for patch in patches:
        counts, _ = np.histogram(patch, bins=256, range=(0.0, 1.0))
        share = counts[counts > 0] / counts.sum()
        expected.append(float(-(share * np.log2(share)).sum()))
    assert patch_entropy(torch.from_numpy(patches)).tolist() == pytest.approx(expected, abs=1e-9)


def test_entropy_ends_at_eight_bits_and_takes_what_lies_beyond() -> None:
    ramp = torch.arange(256.0).view(1, 1, 16, 16) / 255.0
    assert float(patch_entropy(ramp)) == pytest.approx(8.0)
    assert patch_entropy(torch.tensor([[-3.0, 5.0]])[None, None]).tolist() == pytest.approx([1.0])
