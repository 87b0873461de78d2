"""Scenes as files: folders of matching pictures, and two matching videos."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from irvis_runtime.errors import ContractError
from irvis_runtime.image import write_picture
from irvis_runtime.progress import Progress
from irvis_runtime.video import writing_video

from .renderer import SceneRenderer
from .scene import KINDS, Scene, random_scene

_LATEST_S = 60.0


def write_pairs(folder: Path, count: int, size_hw: tuple[int, int], seed: int) -> None:
    """Writes `count` registered pairs, each of another scene, as folder/ir/NAME.png and folder/vis/NAME.png.

    The scenes have the seeds `seed`, `seed` + 1, ...; the kinds of light take turns, so that even a few pairs
    hold each of them. Infrared is grey, visible is colour, both are of `size_hw`. ContractError where `count`
    is below 1 or the size is too small.
    """
    if count < 1:
        raise ContractError(f"pairs: expected 1 or more, got {count}; ask for at least one")
    with Progress("scenes", count) as progress:
        for number in range(seed, seed + count):
            scene = random_scene(number, size_hw, kind=KINDS[number % len(KINDS)])
            time_s = float(np.random.default_rng([number, 6]).uniform(0, _LATEST_S))
            frame = SceneRenderer(scene).frame(time_s)
            name = f"{number:06d}_{scene.kind}_{scene.viewpoint}.png"
            write_picture(Path(folder) / "ir" / name, frame.infrared_hw)
            write_picture(Path(folder) / "vis" / name, frame.visible_hw3)
            progress.step(name)


def write_videos(infrared: Path, visible: Path, scene: Scene, duration_s: float, fps: float) -> None:
    """Writes a scene as two registered videos of equal length, their frames at 0, 1/fps, 2/fps, ... seconds.

    Both appear together or not at all. ContractError where there is no whole frame to write.
    """
    frames = round(duration_s * fps)
    if frames < 1:
        raise ContractError(
            f"expected a video of one frame or more, got {duration_s:g} s at {fps:g} fps; ask for more"
        )
    renderer = SceneRenderer(scene)
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(writing_video(path, fps, renderer.size_hw)) for path in (infrared, visible)
        ]
        progress = stack.enter_context(Progress("video", frames))
        for index in range(frames):
            frame = renderer.frame(index / fps)
            sinks[0].write(frame.infrared_hw)
            sinks[1].write(frame.visible_hw3)
            progress.step()
