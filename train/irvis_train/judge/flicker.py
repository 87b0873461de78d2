"""Flicker: how much more a fused video changes from frame to frame than its inputs do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from irvis_runtime.image import opencv
from irvis_runtime.progress import Progress
from irvis_train.data import LabelledPair

from .contenders import Contender, Frame, Picture, fuse_live
from .material import frame_of
from .motion import Motion, Plane, find_motion, stand_still

HIGH_PASS_SIGMA_PX = 4.0
"""What is finer than this is local contrast."""
LOCAL_SIGMA_PX = 16.0
CONTRAST_FLOOR = 0.25
"""Grey levels; below it the inputs have no contrast that could be scaled."""
STEADY = 1e-6


@dataclass(frozen=True)
class Flicker:
    """Flicker of one contender on one scene.

    The inputs count as their mean picture, A = (infrared + visible) / 2, the plainest fusion of all, so that
    the pixel average scores exactly 1 on every scene. Change: mean absolute difference from one frame to the
    next, in grey levels, over the pixels in sight in both, each frame before moved to the place of the next.
    Gain: standard deviation of the fused picture's high-pass (what a Gaussian of 4 px takes away) divided by
    that of A's, of the mean over all frames where the scene is static and over the frames otherwise.
    """

    ratio: float
    """Change of the fused picture / (gain x change of A); 1: as steady as its inputs."""
    excess: float
    """What of `ratio` is beyond 1; 0 where nothing is."""
    local_ratio: float
    """`ratio` with a gain for every pixel, of the contrast within about 16 px: shadows that the picture
    lifts may change by as much more as they are lifted."""
    quadrature_ratio: float
    """`ratio` with the root of the sum of both inputs' squares in place of A, in change and in gain: stricter
    where changes are few and large, for which the pixel average itself exceeds 1."""
    fused_change: float
    input_change: float
    gain: float
    pumping: float
    """Mean over frames of the absolute change of the picture's mean, grey levels: breathing brightness."""
    input_pumping: float
    """The same of A, times the gain."""
    kept_share: float
    """Of pixels that were in sight in both frames, 0..1."""


@dataclass(frozen=True)
class FlickerSummary:
    """One contender over all scenes, mean and worst."""

    ratio: float
    worst_ratio: float
    worst_scene: str
    excess: float
    local_ratio: float
    quadrature_ratio: float
    pumping: float
    scenes: dict[str, Flicker]


def judge_static(
    contenders: Sequence[Contender],
    pairs: Sequence[LabelledPair],
    sigma: float,
    count: int,
    context_s: float | None,
) -> dict[str, FlickerSummary]:
    """Flicker of every contender on still pairs, each shown `count` times with sensor noise of its own."""
    scenes: dict[str, dict[str, Flicker]] = {}
    with Progress("flicker, still", len(pairs)) as progress:
        for number, pair in enumerate(pairs):
            frames = noisy_repeats(frame_of(pair), sigma, count, seed=number)
            motion = stand_still(frames)
            for contender in contenders:
                fused = list(fuse_live(contender, frames, context_s))
                found = measure_flicker(fused, frames, motion, is_static=True)
                scenes.setdefault(contender.name, {})[pair.name] = found
            progress.step(pair.name)
    return {name: summarize(by_scene) for name, by_scene in scenes.items()}


def judge_clips(
    contenders: Sequence[Contender], clips: Mapping[str, Sequence[Frame]], context_s: float | None
) -> dict[str, FlickerSummary]:
    """Flicker of every contender on clips, motion compensated."""
    scenes: dict[str, dict[str, Flicker]] = {}
    with Progress("flicker, clips", len(clips)) as progress:
        for clip, frames in clips.items():
            motion = find_motion(frames)
            for contender in contenders:
                fused = list(fuse_live(contender, frames, context_s))
                scenes.setdefault(contender.name, {})[clip] = measure_flicker(fused, frames, motion)
            progress.step(clip)
    return {name: summarize(by_scene) for name, by_scene in scenes.items()}


def noisy_repeats(frame: Frame, sigma: float, count: int, seed: int) -> list[Frame]:
    """A static scene: the pair `count` times, each with Gaussian noise of its own on both pictures."""
    random = np.random.default_rng(seed)

    def noisy(picture_hw: Picture) -> Picture:
        noise = random.standard_normal(picture_hw.shape, dtype=np.float32) * np.float32(sigma)
        shown: Picture = np.clip(np.rint(picture_hw + noise), 0, 255).astype(np.uint8)
        return shown

    return [(noisy(frame[0]), noisy(frame[1])) for _ in range(count)]


def measure_flicker(
    fused: Sequence[Picture], frames: Sequence[Frame], motion: Motion, is_static: bool = False
) -> Flicker:
    """Flicker of fused frames against those that they were made of."""
    planes = [picture.astype(np.float32) for picture in fused]
    averages = [(infrared.astype(np.float32) + visible) / 2.0 for infrared, visible in frames]
    contrasts = [_contrasts(stack, is_static) for stack in (planes, averages)]
    deviations = [_deviation(stack) for stack in contrasts]
    gain = deviations[0] / max(deviations[1], STEADY)
    changes, input_changes = motion.changes(planes), motion.changes(averages)
    # The contrasts of a moving scene are one a frame, and the first frame has no change.
    gains = [_local_gain(now, before) for now, before in zip(*contrasts, strict=True)]
    gains = gains * len(changes) if is_static else gains[1:]
    scaled = [local * change for local, change in zip(gains, input_changes, strict=True)]
    fused_change, input_change = _absolute(changes, motion), _absolute(input_changes, motion)
    ratio = fused_change / max(gain * input_change, STEADY)
    return Flicker(
        ratio=ratio,
        excess=max(ratio - 1.0, 0.0),
        local_ratio=fused_change / max(_absolute(scaled, motion), STEADY),
        quadrature_ratio=fused_change / max(deviations[0] * _quadrature(frames, motion, is_static), STEADY),
        fused_change=fused_change,
        input_change=input_change,
        gain=gain,
        pumping=_shift(changes, motion),
        input_pumping=gain * _shift(input_changes, motion),
        kept_share=float(np.mean([kept.mean() for kept in motion.kept])),
    )


def summarize(scenes: dict[str, Flicker]) -> FlickerSummary:
    """Mean and worst of one contender."""
    worst = max(scenes, key=lambda name: scenes[name].ratio)
    found = scenes.values()
    return FlickerSummary(
        ratio=float(np.mean([row.ratio for row in found])),
        worst_ratio=scenes[worst].ratio,
        worst_scene=worst,
        excess=float(np.mean([row.excess for row in found])),
        local_ratio=float(np.mean([row.local_ratio for row in found])),
        quadrature_ratio=float(np.mean([row.quadrature_ratio for row in found])),
        pumping=float(np.mean([row.pumping for row in found])),
        scenes=scenes,
    )


def _contrasts(planes: Sequence[Plane], is_static: bool) -> list[Plane]:
    """The high-pass of every frame, or of the mean of all."""
    shown = [np.mean(planes, axis=0, dtype=np.float32)] if is_static else planes
    return [plane - opencv().GaussianBlur(plane, (0, 0), HIGH_PASS_SIGMA_PX) for plane in shown]


def _local_gain(contrast: Plane, input_contrast: Plane) -> Plane:
    ours, theirs = (
        np.sqrt(opencv().GaussianBlur(plane * plane, (0, 0), LOCAL_SIGMA_PX))
        for plane in (contrast, input_contrast)
    )
    gain: Plane = ours / np.maximum(theirs, CONTRAST_FLOOR)
    return gain


def _deviation(contrasts: Sequence[Plane]) -> float:
    return float(np.mean([contrast.std() for contrast in contrasts]))


def _quadrature(frames: Sequence[Frame], motion: Motion, is_static: bool) -> float:
    """Change of both inputs by their contrast, each as the root of the sum of squares."""
    inputs = [[frame[sensor].astype(np.float32) for frame in frames] for sensor in (0, 1)]
    changes = [_absolute(motion.changes(planes), motion) for planes in inputs]
    contrasts = [_deviation(_contrasts(planes, is_static)) for planes in inputs]
    return math.hypot(*changes) / max(math.hypot(*contrasts), STEADY)


def _absolute(changes: Sequence[Plane], motion: Motion) -> float:
    return _mean([np.abs(change[kept]) for change, kept in zip(changes, motion.kept, strict=True)])


def _shift(changes: Sequence[Plane], motion: Motion) -> float:
    shifts = [change[kept] for change, kept in zip(changes, motion.kept, strict=True)]
    return float(np.mean([abs(float(shift.mean())) if shift.size else 0.0 for shift in shifts]))


def _mean(values: Sequence[Plane]) -> float:
    return float(np.mean([plane.mean() if plane.size else 0.0 for plane in values]))
