"""The pictures that models are judged on: labelled pairs, and clips apart from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from irvis_runtime.bench.pictures import spread
from irvis_runtime.contract import MIN_SIDE_PX
from irvis_runtime.errors import ContractError
from irvis_runtime.image import match_infrared
from irvis_runtime.pairs import Pair, find_dataset_pairs, leave_out, read_pair
from irvis_train.data import LabelledPair, read_labelled_pairs

from .contenders import Frame, Picture

CLIPS_FOLDER = "clips"
"""Pairs below a folder of this name are frames of a clip: each would count like a scene of its own."""
MIN_CLIP_FRAMES = 3


def list_pairs(folder: Path, exclude: Sequence[str]) -> list[Pair]:
    """The pairs below `folder` without clips and without those whose names hold a part of `exclude`."""
    return leave_out(find_dataset_pairs(folder), _parts(folder, exclude))


def read_pairs(
    folder: Path, exclude: Sequence[str], teacher: nn.Module, longest_side_px: int, cache: Path
) -> list[LabelledPair]:
    """The same, reduced and labelled by the teacher as in training."""
    return read_labelled_pairs([str(folder)], _parts(folder, exclude), teacher, longest_side_px, cache)


def read_clips(folder: Path, max_frames: int, longest_side_px: int) -> dict[str, list[Frame]]:
    """Every folder below with ir/ and vis/ is a clip, its frames in natural order, at most `max_frames`."""
    by_clip: dict[str, list[Pair]] = {}
    for pair in find_dataset_pairs(folder):
        by_clip.setdefault(pair.name.rpartition("/")[0] or folder.name, []).append(pair)
    clips = {}
    for name, pairs in by_clip.items():
        if len(pairs) < MIN_CLIP_FRAMES:
            raise ContractError(
                f"{folder}/{name}: expected a clip of at least {MIN_CLIP_FRAMES} frames, got {len(pairs)}; "
                "name the folder that holds clips"
            )
        clips[name] = [
            (_reduced(infrared, longest_side_px), _reduced(visible, longest_side_px))
            for infrared, visible in (read_pair(pair) for pair in pairs[:max_frames])
        ]
        if len({frame[1].shape for frame in clips[name]}) > 1:
            raise ContractError(f"{folder}/{name}: expected frames of one size, got several; make them alike")
    return clips


def frame_of(pair: LabelledPair) -> Frame:
    """The two pictures."""
    return pair.infrared_hw, pair.visible_hw


def some_of(pairs: Sequence[LabelledPair], count: int) -> list[LabelledPair]:
    """Up to `count` of them, evenly spread."""
    return [pairs[index] for index in spread(count, len(pairs))]


def _parts(folder: Path, exclude: Sequence[str]) -> list[str]:
    has_clips = any(f"{CLIPS_FOLDER}/" in pair.name for pair in find_dataset_pairs(folder))
    return [*exclude, *([f"{CLIPS_FOLDER}/"] if has_clips else [])]


def _reduced(picture_hw: Picture, longest_side_px: int) -> Picture:
    scale = min(longest_side_px / max(picture_hw.shape), 1.0)
    height, width = (max(MIN_SIDE_PX, round(side * scale)) for side in picture_hw.shape)
    return match_infrared(picture_hw, (height, width))[0]
