"""Crops of pairs and of their fused pictures, changed in ways that captions name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from irvis_runtime.contract import MIN_SIDE_PX
from irvis_runtime.errors import ContractError
from irvis_runtime.image import read_visible
from irvis_runtime.picture_files import PICTURE_SUFFIXES

from .captions import AS_IS, CLEAN, MEANINGS, Meaning, draw_caption
from .data import LabelledPair, as_tensor
from .degrade import INFRARED, VISIBLE, Degradation
from .fused_changes import FLAWS, PATTERNS, change_background, change_targets, soft_targets

MIN_SEVERITY = 0.25
"""A flaw that nobody would see must not be captioned."""
LARGEST_DRAW = 1.1
"""Beyond 1 so that the worst is not rare."""
MIN_AMOUNT = 0.5
"""Least change of a background or of targets that a caption names."""
AS_IT_COMES_SHARE = 0.2
"""Of the examples of a detailed background or of bright targets, those that are the published picture."""
MIN_DEVIATION = 0.06
MIN_TARGET_CHANGE = 0.03
"""Mean difference of bright and dull targets over a crop; without a target no caption of it is true."""
MAX_TARGET_SHARE = 0.3
TRIES = 300
SMALLEST_WINDOW = 0.7
"""Of the tower's size; what is enlarged further looks blurred."""
AROUND_TARGET_SHARE = 0.8
PLACES = 400
PATTERN_SCALES = (0.7, 1.6)
"""A pattern may have been made at another resolution than the tower's, to which patches are resized."""
MIXED_CROPS = 8


@dataclass(frozen=True)
class Scene:
    """A pair with its fused pictures and the mask of its hot targets, (H, W) each."""

    name: str
    infrared_hw: NDArray[np.uint8]
    visible_hw: NDArray[np.uint8]
    fused_hw: tuple[NDArray[np.float16], ...]
    """The teacher's output, and published pictures of the same pair, in [0, 1]."""
    mask_hw: NDArray[np.float16]
    places_p2: NDArray[np.int64]
    """Rows and columns of some of the targets' pixels; none where there is no target."""


@dataclass(frozen=True)
class Crop:
    """One window of a scene at the tower's size, (1, 1, S, S) each, in [0, 1]."""

    infrared: Tensor
    visible: Tensor
    fused: Tensor
    mask: Tensor

    @property
    def planes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All four, in this order."""
        return self.infrared, self.visible, self.fused, self.mask


@dataclass(frozen=True)
class Captioned:
    """A batch in groups: (G * K, 1, S, S) in [0, 1]; each group holds every meaning once, in order."""

    pictures: Tensor
    captions: tuple[str, ...]
    groups: int


def make_scenes(pairs: Sequence[LabelledPair], fused_folders: Sequence[str] = ()) -> list[Scene]:
    """Scenes of labelled pairs, with the published fused pictures that the folders hold of them.

    A published picture belongs to the pair whose name, or whose name's last part, it bears. ContractError for
    a folder that holds none of any pair, and for a picture of another size.
    """
    published = [_published(Path(folder), pairs) for folder in fused_folders]
    scenes = []
    for pair in pairs:
        mask = soft_targets(as_tensor(pair.infrared_hw))[0, 0].numpy().astype(np.float16)
        fused = [pair.target_hw] + [pictures[pair.name] for pictures in published if pair.name in pictures]
        places = np.argwhere(mask > 0.5)
        places = places[:: max(1, len(places) // PLACES)]
        scenes.append(Scene(pair.name, pair.infrared_hw, pair.visible_hw, tuple(fused), mask, places))
    return scenes


def _published(folder: Path, pairs: Sequence[LabelledPair]) -> dict[str, NDArray[np.float16]]:
    if not folder.is_dir():
        raise ContractError(f"{folder}: expected a folder of fused pictures, found none; check the path")
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PICTURE_SUFFIXES
    }
    found = {}
    for pair in pairs:
        path = files.get(pair.name) or files.get(pair.name.rpartition("/")[2])
        if path is not None:
            found[pair.name] = _fitting(path, pair.visible_hw.shape)
    if not found:
        raise ContractError(
            f"{folder}: expected fused pictures named as the pairs are, got {len(files)} others; rename them"
        )
    return found


def _fitting(path: Path, size_hw: tuple[int, ...]) -> NDArray[np.float16]:
    luma_hw = read_visible(path).luma_hw
    # A picture of the same shape but of the size before the pairs were reduced is reduced too.
    scales = [side / other for side, other in zip(luma_hw.shape, size_hw, strict=True)]
    if max(scales) > 1.02 * min(scales) or min(scales) < 0.99:
        raise ContractError(
            f"{path}: expected the pair's size {size_hw}, or larger in proportion, got {luma_hw.shape}; "
            "leave it out"
        )
    reduced = F.interpolate(as_tensor(luma_hw), size=(int(size_hw[0]), int(size_hw[1])), mode="area")[0, 0]
    picture: NDArray[np.float16] = reduced.numpy().astype(np.float16)
    return picture


class CaptionedMaker:
    """Makes batches of captioned crops; a batch is a function of the seed and the step."""

    def __init__(self, scenes: Sequence[Scene], side_px: int, seed: int) -> None:
        self.scenes, self.side_px, self.seed = scenes, side_px, seed

    def batch(self, step: int, groups: int) -> Captioned:
        """So many groups; in the even ones all pictures come of one crop, in the odd ones of eight.

        Siblings teach that the scene does not matter, strangers that it may be any.
        """
        random = np.random.default_rng((self.seed, step))
        pictures: list[Tensor] = []
        captions: list[str] = []
        for group in range(groups):
            crops = [self.crop(random) for _ in range(MIXED_CROPS if group % 2 else 1)]
            for index, meaning in enumerate(MEANINGS):
                severity = min(1.0, float(random.uniform(MIN_SEVERITY, LARGEST_DRAW)))
                picture = render(crops[index % len(crops)], meaning, severity, random)
                pictures.append(_as_cameras_vary(picture, random))
                captions.append(draw_caption(meaning, severity, random))
        return Captioned(torch.cat(pictures), tuple(captions), groups)

    def crop(self, random: np.random.Generator) -> Crop:
        """A window of a random scene that shows targets, is not flat; ContractError where there is none."""
        for _ in range(TRIES):
            scene = self.scenes[int(random.integers(len(self.scenes)))]
            window = random_window(scene, self.side_px, random)
            # No change exceeds 1: a look at the mask spares most of the cuts.
            if float(scene.mask_hw[window].mean(dtype=np.float32)) < MIN_TARGET_CHANGE:
                continue
            crop = cut(scene, window, self.side_px, random)
            if is_telling(crop):
                return crop
        raise ContractError(
            f"pairs: expected hot targets, found none in {TRIES} windows of {len(self.scenes)} pairs; "
            "captions would not be true, give pairs of other scenes"
        )


def is_telling(crop: Crop) -> bool:
    """Whether what a caption says of targets and background can be seen in this crop."""
    if float(crop.fused.std()) < MIN_DEVIATION or float(crop.mask.mean()) > MAX_TARGET_SHARE:
        return False
    # At a quarter of the resolution, for speed.
    fused, mask = (F.avg_pool2d(plane, 4) for plane in (crop.fused, crop.mask))
    change = change_targets(fused, mask, 0.75) - change_targets(fused, mask, -0.75)
    return float(change.abs().mean()) >= MIN_TARGET_CHANGE


def random_window(scene: Scene, side_px: int, random: np.random.Generator) -> tuple[slice, slice]:
    """A window from 0.7 of the tower's size to the whole picture, not quite square, mostly with a target."""
    size_hw = scene.visible_hw.shape
    smallest = SMALLEST_WINDOW * side_px
    side = smallest * (max(min(size_hw) / smallest, 1.0)) ** float(random.random())
    stretch = float(random.uniform(0.87, 1.15))
    has_place = len(scene.places_p2) > 0 and random.random() < AROUND_TARGET_SHARE
    place = scene.places_p2[int(random.integers(len(scene.places_p2)))] if has_place else None
    window = []
    for axis, wanted in enumerate((side * stretch, side / stretch)):
        whole = size_hw[axis]
        length = min(whole, max(MIN_SIDE_PX, round(wanted)))
        first, last = 0, whole - length
        if place is not None:
            first, last = max(first, int(place[axis]) - length + 1), min(last, int(place[axis]))
        start = int(random.integers(first, last + 1))
        window.append(slice(start, start + length))
    return window[0], window[1]


def cut(scene: Scene, window: tuple[slice, slice], side_px: int, random: np.random.Generator) -> Crop:
    """The window of all planes at the tower's size, flipped at random."""
    fused_hw = scene.fused_hw[int(random.integers(len(scene.fused_hw)))]
    planes: list[NDArray[Any]] = [
        scene.infrared_hw[window] / np.float32(255.0),
        scene.visible_hw[window] / np.float32(255.0),
        fused_hw[window].astype(np.float32),
        scene.mask_hw[window].astype(np.float32),
    ]
    stacked = torch.from_numpy(np.stack(planes))[:, None]
    if random.random() < 0.5:
        stacked = stacked.flip(-1)
    resized = F.interpolate(stacked, (side_px, side_px), mode="bilinear", antialias=True, align_corners=False)
    infrared, visible, fused, mask = torch.split(resized.clamp(0.0, 1.0), 1)
    return Crop(infrared, visible, fused, mask)


def render(crop: Crop, meaning: Meaning, severity: float, random: np.random.Generator) -> Tensor:
    """The crop changed so that it means `meaning`: (1, 1, S, S) in [0, 1].

    `severity` in [0, 1] is that of the flaw; of a sound picture's background and targets, that of the change.
    """
    if meaning.modality != "fused":
        plane = crop.visible if meaning.modality == "visible" else crop.infrared
        return plane if meaning.quality == CLEAN else flaw(meaning)(plane, severity, random)
    if meaning.quality == CLEAN:
        amounts = [_amount(level, severity, random) for level in (meaning.background, meaning.targets)]
        return change_fused(crop, *amounts)
    # What is wrong with a picture is wrong whatever it shows.
    levels = (("smooth", AS_IS, "detailed"), ("dull", AS_IS, "bright"))
    looks = [_amount(choices[int(random.integers(3))], random.random(), random) for choices in levels]
    picture = change_fused(crop, *looks)
    if meaning.quality in PATTERNS:
        return _patterned(picture, flaw(meaning), severity, random)
    return flaw(meaning)(picture, severity, random)


def change_fused(crop: Crop, background: float, targets: float) -> Tensor:
    """The crop's fused picture with its background and its targets changed by amounts in [-1, 1]."""
    fused = crop.fused
    if background != 0.0:
        fused = change_background(fused, crop.mask, background)
    return fused if targets == 0.0 else change_targets(fused, crop.mask, targets)


def flaw(meaning: Meaning) -> Degradation:
    """What a degraded meaning's pictures have gone through."""
    if meaning.modality == "visible":
        return VISIBLE[meaning.quality]
    if meaning.modality == "infrared":
        return INFRARED["fixed_pattern" if meaning.quality == "stripes" else meaning.quality]
    return FLAWS[meaning.quality] if meaning.quality in FLAWS else VISIBLE[meaning.quality]


def _amount(level: str, severity: float, random: np.random.Generator) -> float:
    amount = MIN_AMOUNT + (1.0 - MIN_AMOUNT) * severity
    if level in ("smooth", "dull"):
        return -amount
    if level in ("detailed", "bright"):
        # The published picture is an example of both, and so is all that goes further.
        return 0.0 if random.random() < AS_IT_COMES_SHARE else amount
    return float(random.uniform(-0.15, 0.15))


def _patterned(picture: Tensor, change: Degradation, severity: float, random: np.random.Generator) -> Tensor:
    """The pattern at the tower's resolution, or brought to it from another one as a patch would be."""
    if random.random() < 0.6:
        return change(picture, severity, random)
    side_px = picture.shape[-1]
    other_px = round(side_px * float(random.uniform(*PATTERN_SCALES)))
    grey = F.interpolate(picture, (other_px, other_px), mode="bilinear", antialias=True, align_corners=False)
    pattern = change(grey, min(1.0, 1.3 * severity), random) - grey
    resized = F.interpolate(pattern, (side_px, side_px), mode="bilinear", antialias=True, align_corners=False)
    return (picture + resized).clamp(0.0, 1.0)


def _as_cameras_vary(picture: Tensor, random: np.random.Generator) -> Tensor:
    """A little other exposure and a trace of noise: nothing that a caption would speak of."""
    gamma, gain = float(random.uniform(0.85, 1.18)), float(random.uniform(0.92, 1.05))
    changed = gain * picture.clamp_min(1e-4) ** gamma
    if random.random() < 0.5:
        noise = random.standard_normal(picture.shape, dtype=np.float32) * np.float32(random.uniform(0, 0.01))
        changed = changed + torch.from_numpy(noise)
    return changed.clamp(0.0, 1.0)
