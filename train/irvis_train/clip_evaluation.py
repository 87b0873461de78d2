"""Whether a CLIP understands this domain: retrieval of captions, and scores against degradations.

Takes anything with the two methods of clip.ClipTowers, hence any open_clip model too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.errors import ContractError

from .captioned import Crop, Scene, change_fused, cut, flaw, is_telling, random_window, render
from .captions import (
    CLEAN,
    MEANINGS,
    OBJECTIVE,
    Meaning,
    canonical,
    rephrased_captions,
    seen_captions,
    unseen_captions,
)

SEVERITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
AMOUNTS = (-1.0, -0.6, -0.2, 0.2, 0.6, 1.0)
CROPS_A_SCENE = 2
TRIES = 40
LEAST_STEP = 1e-4
ENCODED_AT_ONCE = 60
PHRASINGS = ("canonical", "unseen", "rephrased")


class Towers(Protocol):
    """Embeds pictures (N, 1, H, W) in [0, 1] and texts; rows need not be of length 1."""

    def encode_pictures(self, pictures_n1hw: Tensor) -> Tensor:
        """(N, D)."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """(K, D)."""
        ...


@dataclass(frozen=True)
class Curve:
    """How a score moves as one thing is done to pictures, mean over all crops."""

    what: str
    """The degradation's meaning, or the axis."""
    towards: str
    against: str
    """The score is the cosine to the text `towards` less that to the text `against`."""
    amounts: tuple[float, ...]
    scores: tuple[float, ...]
    objective: tuple[float, ...]
    """The cosine to the text `towards` alone."""
    rises: bool
    """Whether the score is meant to rise."""

    @property
    def is_monotone(self) -> bool:
        """Whether every step moves the score the way it should, by more than rounding does."""
        sign = 1.0 if self.rises else -1.0
        return all(
            sign * (later - earlier) > LEAST_STEP for earlier, later in itertools.pairwise(self.scores)
        )


def cut_validation_crops(scenes: Sequence[Scene], side_px: int, device: torch.device) -> list[Crop]:
    """The same crops in every call: windows of every scene that show its targets.

    Scenes without targets are left out; ContractError where no scene has any.
    """
    crops = []
    for index, scene in enumerate(scenes):
        random = np.random.default_rng((7, index))
        tries = (cut(scene, random_window(scene, side_px, random), side_px, random) for _ in range(TRIES))
        found = itertools.islice(filter(is_telling, tries), CROPS_A_SCENE)
        crops += [Crop(*(plane.to(device) for plane in crop.planes)) for crop in found]
    if not crops:
        raise ContractError(
            f"val_pairs: expected hot targets, found none in {len(scenes)} pairs; give pairs of other scenes"
        )
    return crops


def retrieval(towers: Towers, crops: Sequence[Crop], phrasings: Sequence[str]) -> dict[str, float]:
    """Top-1 accuracy of the right caption among one of each meaning, over every meaning of every crop.

    `canonical`: the plainest sentences. `unseen`: sentences that training never drew. `rephrased`: a
    structure that it never drew. The further keys are accuracies of parts of what the retrieved canonical
    caption says: modality and quality over all, background and targets over sound fused pictures.
    """
    embeddings, labels = _embed_every_meaning(towers, crops)
    numbers: dict[str, float] = {}
    for phrasing in phrasings:
        texts = _unit(towers.encode_texts([_phrased(meaning, phrasing) for meaning in MEANINGS]))
        found = (embeddings @ texts.T).argmax(dim=1).tolist()
        hits = [guess == label for guess, label in zip(found, labels, strict=True)]
        numbers[f"top1_{phrasing}"] = float(np.mean(hits))
        if phrasing == "canonical":
            numbers |= _by_part(found, labels)
    return numbers


def chance() -> float:
    """Top-1 accuracy of guessing."""
    return 1.0 / len(MEANINGS)


def degradation_curves(towers: Towers, crops: Sequence[Crop]) -> list[Curve]:
    """One curve for each degraded meaning: clean text against degraded text, as the severity grows."""
    curves = []
    for meaning in MEANINGS:
        if meaning.quality == CLEAN:
            continue
        clean = OBJECTIVE if meaning.modality == "fused" else Meaning(meaning.modality)
        pictures = [
            [_degraded(crop, meaning, s, index) for index, crop in enumerate(crops)] for s in SEVERITIES
        ]
        curves.append(
            _curve(
                towers, meaning.name, canonical(clean), canonical(meaning), SEVERITIES, pictures, rises=False
            )
        )
    return curves


def axis_curves(towers: Towers, crops: Sequence[Crop]) -> list[Curve]:
    """The score of each axis's text against its opposite, as background or targets are changed."""
    changes: list[tuple[str, Meaning, Meaning, Callable[[Crop, float], Tensor]]] = [
        (
            "background",
            Meaning("fused", CLEAN, "detailed"),
            Meaning("fused", CLEAN, "smooth"),
            lambda crop, amount: change_fused(crop, amount, 0.0),
        ),
        (
            "targets",
            Meaning("fused", CLEAN, targets="bright"),
            Meaning("fused", CLEAN, targets="dull"),
            lambda crop, amount: change_fused(crop, 0.0, amount),
        ),
    ]
    return [
        _curve(
            towers,
            name,
            canonical(high),
            canonical(low),
            AMOUNTS,
            [[change(crop, amount) for crop in crops] for amount in AMOUNTS],
            rises=True,
        )
        for name, high, low, change in changes
    ]


def gradient_spectrum(towers: Towers, crops: Sequence[Crop]) -> dict[str, float]:
    """Where in the spectrum a picture is changed that follows the objective text's gradient.

    Shares of energy above half of the highest frequency, of the gradient of the cosine and of the pictures'
    own differences to a blur, and the gradient's energy at period 2 in rows, columns or both.
    """
    pictures = torch.cat([crop.fused for crop in crops]).clone().requires_grad_(True)
    text = _unit(towers.encode_texts([canonical(OBJECTIVE)]))
    score = (_unit(towers.encode_pictures(pictures)) @ text.T).sum()
    (gradient,) = torch.autograd.grad(score, pictures)
    side = pictures.shape[-1]
    frequency = torch.fft.fftfreq(side).abs()
    radius = torch.maximum(frequency[:, None], frequency[None, :]).to(gradient.device)
    power = torch.fft.fft2(gradient).abs().square().mean(dim=(0, 1))
    own = torch.fft.fft2(pictures.detach()).abs().square().mean(dim=(0, 1))
    own[0, 0] = 0.0
    grid = torch.zeros_like(power, dtype=torch.bool)
    grid[side // 2, :] = grid[:, side // 2] = True
    return {
        "gradient_high_share": float(power[radius >= 0.25].sum() / power.sum()),
        "gradient_period_2_share": float(power[grid].sum() / power.sum()),
        "pictures_high_share": float(own[radius >= 0.25].sum() / own.sum()),
        "white_high_share": float((radius >= 0.25).float().mean()),
    }


def evaluate_clip(towers: Towers, crops: Sequence[Crop], scenes: int) -> dict[str, Any]:
    """All of the above on crops of so many held-out scenes, as JSON holds it."""
    curves = degradation_curves(towers, crops) + axis_curves(towers, crops)
    with torch.no_grad():
        found = retrieval(towers, crops, PHRASINGS)
    return {
        "scenes": scenes,
        "crops": len(crops),
        "meanings": len(MEANINGS),
        "chance": chance(),
        "retrieval": found,
        "curves": [{**asdict(curve), "is_monotone": curve.is_monotone} for curve in curves],
        "monotone": sum(curve.is_monotone for curve in curves),
        "gradient": gradient_spectrum(towers, crops),
    }


def evaluation_markdown(evaluation: dict[str, Any]) -> str:
    """The evaluation as tables."""
    lines = [
        f"{evaluation['crops']} crops of {evaluation['scenes']} held-out scenes; one caption out of "
        f"{evaluation['meanings']}, chance {evaluation['chance']:.1%}.",
        "",
        "| retrieval, top 1 | share |",
        "| --- | --- |",
        *(f"| {name} | {value:.1%} |" for name, value in evaluation["retrieval"].items()),
        "",
        *_curve_lines(evaluation["curves"]),
        "",
        "| gradient of the objective text | share of energy |",
        "| --- | --- |",
        *(f"| {name} | {value:.1%} |" for name, value in evaluation["gradient"].items()),
    ]
    return "\n".join(lines) + "\n"


def _curve_lines(curves: Sequence[dict[str, Any]]) -> Iterator[str]:
    steps = len(curves[0]["scores"]) if curves else 0
    yield "| what grows | " + " | ".join(f"step {step}" for step in range(steps)) + " | monotone |"
    yield "| --- " * (steps + 2) + "|"
    for curve in curves:
        scores = " | ".join(f"{score:+.3f}" for score in curve["scores"])
        yield f"| {curve['what']} | {scores} | {'yes' if curve['is_monotone'] else '**no**'} |"


def _curve(
    towers: Towers,
    what: str,
    towards: str,
    against: str,
    amounts: tuple[float, ...],
    pictures: Sequence[Sequence[Tensor]],
    rises: bool,
) -> Curve:
    with torch.no_grad():
        texts = _unit(towers.encode_texts([towards, against]))
        cosines = [(_encode(towers, row) @ texts.T).mean(dim=0).tolist() for row in pictures]
    scores = tuple(clean - other for clean, other in cosines)
    return Curve(what, towards, against, amounts, scores, tuple(clean for clean, _ in cosines), rises)


def _degraded(crop: Crop, meaning: Meaning, severity: float, index: int) -> Tensor:
    """The published picture or the source itself, degraded by the same pattern at every severity."""
    plane = {"visible": crop.visible, "infrared": crop.infrared, "fused": crop.fused}[meaning.modality]
    return flaw(meaning)(plane, severity, np.random.default_rng((11, index)))


def _embed_every_meaning(towers: Towers, crops: Sequence[Crop]) -> tuple[Tensor, list[int]]:
    pictures, labels = [], []
    for index, crop in enumerate(crops):
        random = np.random.default_rng((13, index))
        for label, meaning in enumerate(MEANINGS):
            pictures.append(render(crop, meaning, float(random.uniform(0.4, 1.0)), random))
            labels.append(label)
    return _encode(towers, pictures), labels


def _encode(towers: Towers, pictures: Sequence[Tensor]) -> Tensor:
    chunks = [
        towers.encode_pictures(torch.cat(list(pictures[start : start + ENCODED_AT_ONCE])))
        for start in range(0, len(pictures), ENCODED_AT_ONCE)
    ]
    return _unit(torch.cat(chunks))


def _phrased(meaning: Meaning, phrasing: str) -> str:
    choices = {"unseen": unseen_captions, "rephrased": rephrased_captions}.get(phrasing)
    if choices is None:
        return canonical(meaning)
    texts = choices(meaning) or seen_captions(meaning)
    return texts[len(texts) // 2]


def _by_part(found: Sequence[int], labels: Sequence[int]) -> dict[str, float]:
    pairs = [(MEANINGS[guess], MEANINGS[label]) for guess, label in zip(found, labels, strict=True)]
    sound = [(guess, label) for guess, label in pairs if label.modality == "fused" and label.quality == CLEAN]
    return {
        "modality": float(np.mean([guess.modality == label.modality for guess, label in pairs])),
        "quality": float(np.mean([guess.quality == label.quality for guess, label in pairs])),
        "background": float(np.mean([guess.background == label.background for guess, label in sound])),
        "targets": float(np.mean([guess.targets == label.targets for guess, label in sound])),
    }


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows, dim=-1)
