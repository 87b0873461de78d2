from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.errors import ContractError
from irvis_train.captioned import Crop, Scene
from irvis_train.captions import CLEAN, MEANINGS, canonical
from irvis_train.clip_evaluation import (
    PHRASINGS,
    SEVERITIES,
    axis_curves,
    chance,
    cut_validation_crops,
    degradation_curves,
    evaluate_clip,
    evaluation_markdown,
    gradient_spectrum,
    retrieval,
)

SIDE_PX = 64


class Measure:
    """Towers that see one number x in [0, 1] of a picture: cos and sin of it are the embedding.

    A text that holds one of `words` lies where x is 1, any other where x is 0.
    """

    def __init__(self, measure: Callable[[Tensor], Tensor], words: Sequence[str]) -> None:
        self.measure, self.words = measure, words

    def encode_pictures(self, pictures_n1hw: Tensor) -> Tensor:
        x = self.measure(pictures_n1hw) * torch.pi / 2
        return torch.stack([x.cos(), x.sin()], dim=1)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        x = torch.tensor([float(any(word in text for word in self.words)) for text in texts])
        return torch.stack([1.0 - x, x], dim=1)


def roughness(pictures_n1hw: Tensor) -> Tensor:
    return pictures_n1hw.diff(dim=-1).abs().mean(dim=(1, 2, 3)).clamp(max=1.0)


def smoothness(pictures_n1hw: Tensor) -> Tensor:
    return 1.0 - 4.0 * roughness(pictures_n1hw).clamp(max=0.25)


@pytest.fixture(scope="module")
def crops() -> list[Crop]:
    generator = torch.Generator().manual_seed(6)
    found = []
    for _ in range(3):
        fine, coarse = (torch.rand((3, 1, side, side), generator=generator) for side in (32, 6))
        planes = [
            F.interpolate(plane, (SIDE_PX, SIDE_PX), mode="bicubic", align_corners=False)
            for plane in (fine, coarse)
        ]
        mixed = (0.3 + 0.3 * planes[1] + 0.1 * planes[0]).clamp(0.0, 1.0)
        mask = torch.zeros((1, 1, SIDE_PX, SIDE_PX))
        mask[..., 20:32, 20:30] = 1.0
        mixed[2:][mask > 0.0] = 0.8
        found.append(Crop(mixed[:1], mixed[1:2], mixed[2:], mask))
    return found


def test_a_tower_that_sees_noise_falls_with_noise(crops: Sequence[Crop]) -> None:
    curves = degradation_curves(Measure(roughness, ["noisy"]), crops)
    assert len(curves) == sum(meaning.quality != CLEAN for meaning in MEANINGS)
    noise = {curve.what: curve for curve in curves}
    for modality in ("visible", "infrared", "fused"):
        curve = noise[f"{modality} noise"]
        assert curve.amounts == SEVERITIES
        assert curve.is_monotone
        assert curve.scores[0] > curve.scores[-1] + 0.05
        assert list(curve.objective) == sorted(curve.objective, reverse=True)
    # It has no word for stripes: both texts are alike to it, the score stands still, and that is no fall.
    assert not noise["infrared stripes"].is_monotone


def test_a_tower_that_takes_noise_for_the_better_is_found_out(crops: Sequence[Crop]) -> None:
    curves = degradation_curves(Measure(smoothness, ["noisy"]), crops)
    assert not next(curve for curve in curves if curve.what == "fused noise").is_monotone


def test_axes_are_read_in_their_direction(crops: Sequence[Crop]) -> None:
    background = axis_curves(Measure(roughness, ["detailed"]), crops)[0]
    assert background.what == "background"
    assert background.is_monotone
    assert background.scores[-1] > background.scores[0]
    assert not axis_curves(Measure(smoothness, ["detailed"]), crops)[0].is_monotone
    targets = axis_curves(Measure(lambda pictures: pictures[..., 24, 25].mean(1), ["salient"]), crops)[1]
    assert targets.what == "targets"
    assert targets.is_monotone


def test_retrieval_counts_and_a_blind_tower_guesses(crops: Sequence[Crop]) -> None:
    numbers = retrieval(Measure(lambda pictures: pictures[:, 0, 0, 0] * 0.0, []), crops, PHRASINGS)
    assert numbers["top1_canonical"] == pytest.approx(chance())
    assert set(numbers) == {f"top1_{name}" for name in PHRASINGS} | {
        *("modality", "quality", "background", "targets")
    }
    visible = sum(meaning.modality == "visible" for meaning in MEANINGS) / len(MEANINGS)
    assert numbers["modality"] == pytest.approx(visible)


def test_a_tower_that_knows_each_picture_finds_each_caption(crops: Sequence[Crop]) -> None:
    """Its texts are the embeddings of the very pictures, in the order of the meanings."""

    class Oracle:
        def __init__(self) -> None:
            self.seen: list[Tensor] = []

        def encode_pictures(self, pictures_n1hw: Tensor) -> Tensor:
            self.seen.append(pictures_n1hw)
            return (pictures_n1hw - pictures_n1hw.mean()).flatten(1)

        def encode_texts(self, texts: Sequence[str]) -> Tensor:
            pictures = torch.cat(self.seen)
            return (pictures - pictures.mean()).flatten(1)

    assert retrieval(Oracle(), crops[:1], ["canonical"])["top1_canonical"] == 1.0


def test_the_gradients_spectrum_shows_a_checkerboard(crops: Sequence[Crop]) -> None:
    signs = torch.tensor([1.0, -1.0]).repeat(SIDE_PX // 2)
    board = signs[:, None] * signs[None, :]
    fond_of_patterns = Measure(lambda pictures: 0.5 + (pictures * board).mean(dim=(1, 2, 3)), ["salient"])
    assert gradient_spectrum(fond_of_patterns, crops)["gradient_period_2_share"] > 0.99
    fond_of_light = Measure(lambda pictures: pictures.mean(dim=(1, 2, 3)), ["salient"])
    numbers = gradient_spectrum(fond_of_light, crops)
    assert numbers["gradient_high_share"] < 1e-3
    assert numbers["white_high_share"] == pytest.approx(0.75, abs=0.05)


def test_the_report_is_json_and_markdown(crops: Sequence[Crop]) -> None:
    evaluation = evaluate_clip(Measure(roughness, ["noisy"]), crops, scenes=3)
    assert json.loads(json.dumps(evaluation, allow_nan=False))["scenes"] == 3
    assert evaluation["monotone"] == sum(curve["is_monotone"] for curve in evaluation["curves"])
    assert evaluation["monotone"] >= 3
    text = evaluation_markdown(evaluation)
    assert "one caption out of 30, chance 3.3%" in text
    rows = [line for line in text.splitlines() if line.startswith("| fused noise |")]
    assert len(rows) == 1
    assert rows[0].endswith("| yes |")
    assert canonical(MEANINGS[0]) not in rows[0]


def test_scenes_without_targets_cannot_be_judged() -> None:
    grey = np.full((80, 80), 90, np.uint8)
    zeros = np.zeros((80, 80), np.float16)
    scene = Scene("a", grey, grey, (zeros,), zeros, np.zeros((0, 2), np.int64))
    with pytest.raises(ContractError, match="val_pairs: expected hot targets, found none in 1 pairs"):
        cut_validation_crops([scene], SIDE_PX, torch.device("cpu"))
