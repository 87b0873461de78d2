"""What the numbers look like: the worst pair, a degraded one, flicker, and the jump of a patch, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.context import make_context
from irvis_runtime.image import match_infrared, opencv, write_picture
from irvis_train.data import LabelledPair

from .contenders import FRAMES_PER_S, Contender, Frame, Picture, fuse_live, make_smoother
from .judged import Judged
from .material import frame_of
from .motion import find_motion
from .patch import add_patch
from .robust import degraded, list_cases

GAIN = 8
"""Differences are shown 8 times as large."""
CAPTION_PX = 22
COLUMN_PX = 400
"""Of the pictures with many columns."""
DEGRADED = ("visible fog", "visible noise", "visible dark", "infrared fixed_pattern")


def write_pictures(
    folder: Path,
    contenders: Sequence[Contender],
    judged: Judged,
    pairs: Sequence[LabelledPair],
    clips: Mapping[str, Sequence[Frame]],
) -> list[Path]:
    """Writes the pictures of the figures that were measured and returns their paths."""
    by_name = {pair.name: pair for pair in pairs}
    written: dict[str, Picture] = {}
    for name, likeness in judged.likeness.items():
        pair = by_name[likeness.worst_pair]
        contender = next(item for item in contenders if item.name == name)
        written[f"worst_{_slug(name)}"] = worst_pair(contender, pair)
    if judged.patch:
        pair = by_name[judged.setting.patch_pairs[0]]
        written["patch"] = patch_jump(contenders, pair, judged.setting.context_s)
    if judged.clip_flicker and clips:
        written["flicker"] = flicker_maps(contenders, next(iter(clips.values())), judged.setting.context_s)
    if judged.robustness:
        pair = by_name[judged.setting.robust_pairs[0]]
        written["robust"] = degraded_rows(contenders, pair, max(judged.setting.severities))
    paths = [folder / f"{name}.png" for name in written]
    for path, picture in zip(paths, written.values(), strict=True):
        write_picture(path, picture)
    return paths


def worst_pair(contender: Contender, pair: LabelledPair) -> Picture:
    """Infrared, visible, teacher, model and their difference."""
    fused_hw, target_hw = contender.fuse(*frame_of(pair), None), _target(pair)
    difference = amplified(fused_hw.astype(np.float32) - target_hw)
    pictures = (pair.infrared_hw, pair.visible_hw, target_hw, fused_hw, difference)
    names = ("infrared", "visible", "teacher", contender.name, f"difference x {GAIN}")
    return _row(pictures, names)


def patch_jump(contenders: Sequence[Contender], pair: LabelledPair, context_s: float) -> Picture:
    """Every contender's picture with the patch in the visible one, and how it jumped when that appeared."""
    frame = frame_of(pair)
    changed, _ = add_patch(frame, "visible")
    rows = []
    for contender in contenders:
        smoother = make_smoother(context_s)
        before = contender.fuse(*frame, smoother.update(make_context(*frame), 0.0))
        after = contender.fuse(*changed, smoother.update(make_context(*changed), 1.0 / FRAMES_PER_S))
        jump = amplified(after.astype(np.float32) - before)
        rows.append(_row((before, after, jump), (contender.name, "next frame", f"jump x {GAIN}")))
    return np.concatenate(rows)


def flicker_maps(contenders: Sequence[Contender], frames: Sequence[Frame], context_s: float) -> Picture:
    """Every contender's last frame and its mean change, motion compensated; the inputs' first."""
    motion = find_motion(frames)
    averages = [((infrared.astype(np.float32) + visible) / 2.0) for infrared, visible in frames]
    shown: list[tuple[str, Picture, Sequence[Picture] | Sequence[NDArray[np.float32]]]] = [
        ("mean of the inputs", np.rint(averages[-1]).astype(np.uint8), averages)
    ]
    for contender in contenders:
        fused = list(fuse_live(contender, frames, context_s))
        shown.append((contender.name, fused[-1], fused))
    rows = []
    for name, last, pictures in shown:
        mean = np.mean([np.abs(change) for change in motion.changes(pictures)], axis=0)
        change = np.clip(GAIN * mean, 0, 255).astype(np.uint8)
        rows.append(_row((last, change), (name, f"mean change x {GAIN}")))
    return np.concatenate(rows)


def degraded_rows(contenders: Sequence[Contender], pair: LabelledPair, severity: float) -> Picture:
    """A few degradations: both inputs, every contender's picture, and the teacher's of the clean inputs."""
    rows = []
    for name, _, change in list_cases([severity]):
        if name not in DEGRADED:
            continue
        frame = degraded(pair, change, seed=0)
        fused = [contender.fuse(*frame, None) for contender in contenders]
        names = [f"{name} {severity:g}", "visible", *(contender.name for contender in contenders)]
        pictures = [_narrowed(picture) for picture in (*frame, *fused, _target(pair))]
        rows.append(_row(pictures, (*names, "teacher, clean inputs")))
    return np.concatenate(rows)


def amplified(difference: NDArray[np.float32]) -> Picture:
    """128 + 8 x difference."""
    shown: Picture = np.clip(np.rint(128.0 + GAIN * difference), 0, 255).astype(np.uint8)
    return shown


def _row(pictures: Sequence[Picture], names: Sequence[str]) -> Picture:
    """Pictures of one size side by side, each under its name."""
    cv2 = opencv()
    columns = []
    for picture, name in zip(pictures, names, strict=True):
        caption = np.zeros((CAPTION_PX, picture.shape[1]), np.uint8)
        cv2.putText(caption, name, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
        columns.append(np.concatenate([caption, picture]))
    return np.concatenate(columns, axis=1)


def _narrowed(picture: Picture) -> Picture:
    height, width = picture.shape
    scale = min(COLUMN_PX / width, 1.0)
    return match_infrared(picture, (round(height * scale), round(width * scale)))[0]


def _target(pair: LabelledPair) -> Picture:
    target: Picture = np.rint(pair.target_hw.astype(np.float32) * np.float32(255.0)).astype(np.uint8)
    return target


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
