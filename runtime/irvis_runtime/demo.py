"""`irvis demo`: the whole road on generated pictures, by the very commands that a user would type."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import __main__ as dispatcher
from .atomic import write_text
from .cli import Parser
from .errors import ContractError
from .fuser import Fuser
from .image import join_colour, split_colour, write_picture
from .shipped_models import shipped_model_dir

if TYPE_CHECKING:
    from .scenes import Scene

SIZE_HW = (256, 320)
VIDEO_SIZE_HW = (480, 640)
VIDEO_FPS = 25
MARKER = "irvis-demo.json"
"""Lies in every folder that a demo made, so that a second run never clears a folder of the user's."""
TEACHER = "irvis-m"
"""Of the shipped models the closest to the published teacher; its student starts with its deep layers."""


@dataclass(frozen=True)
class DemoSize:
    """How much of everything the demo makes."""

    train_pairs: int = 32
    val_pairs: int = 9
    steps: int = 2000
    video_s: float = 6.0
    live_s: float = 5.0


QUICK = DemoSize(train_pairs=6, val_pairs=6, steps=12, video_s=0.6, live_s=1.5)


def main(argv: Sequence[str]) -> int:
    """Runs `irvis demo ...` and returns its exit code; the last line printed is the report's path."""
    parser = Parser(prog="irvis demo", description="The whole road on generated pictures: train to report.")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo-out"), help="folder to make (default demo-out)"
    )
    parser.add_argument("--seed", type=int, default=16, help="decides the scenes and the training")
    parser.add_argument(
        "--quick", action="store_true", help="a few steps of everything, to see that the road is open"
    )
    arguments = parser.parse_args(argv)
    if arguments.seed < 0:
        raise ContractError(f"--seed: expected 0 or more, got {arguments.seed}")
    report = run_demo(arguments.output, arguments.seed, QUICK if arguments.quick else DemoSize())
    sys.stdout.write(f"{report}\n")
    return 0


def run_demo(output: Path, seed: int, size: DemoSize) -> Path:
    """Makes pictures, a student, a fused video and a report in `output`; returns the report's path."""
    began = time.monotonic()
    _claim(output, seed)
    _render(output, seed, size)
    model, teacher = output / "run" / "irvis-demo", shipped_model_dir(TEACHER)
    _write_config(output / "train.toml", output, teacher, seed, size)
    _run("train", "student", output / "train.toml")
    _run("export", model)
    # A student trained for a minute is rough, and so is what INT8 may lose of it.
    lenient = ("--max-drop-db", 0.3, "--min-mean-agreement-db", 30)
    _run(
        "quantize",
        model,
        "--pairs",
        output / "val",
        "--teacher",
        teacher,
        "--count",
        size.val_pairs,
        *lenient,
    )
    _run("fuse", output / "ir.mp4", output / "vis.mp4", "-o", output / "fused.mp4", "--model", model)
    _run_live(output, model, seed, size)
    bench, report = output / "bench.json", output / "report.html"
    _run("bench", model, "--pairs", output / "val", "--teacher", teacher, "--size", "640x480", "-o", bench)
    _run("report", bench, "-o", report)
    _say(f"done in {time.monotonic() - began:.0f} s; fused video: {output / 'fused.mp4'}; report:")
    return report


def _claim(output: Path, seed: int) -> None:
    """Takes a new or empty folder, or one of an earlier demo, which is cleared."""
    if output.exists() and not output.is_dir():
        raise ContractError(f"{output}: is a file, expected a folder to make; name another with -o")
    if output.is_dir() and any(output.iterdir()):
        if not (output / MARKER).exists():
            raise ContractError(f"{output}: holds files that no demo made; name another folder with -o")
        _clear(output)
    write_text(output / MARKER, json.dumps({"seed": seed}) + "\n")


def _clear(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


def _render(output: Path, seed: int, size: DemoSize) -> None:
    from .scenes import random_scene, write_pairs, write_videos

    _say("rendering scenes: matching infrared and visible pictures, day and night, road and air")
    write_pairs(output / "train", size.train_pairs, SIZE_HW, seed)
    write_pairs(output / "val", size.val_pairs, SIZE_HW, seed + size.train_pairs)
    scene = random_scene(seed, VIDEO_SIZE_HW, kind="fog", viewpoint="road")
    write_videos(output / "ir.mp4", output / "vis.mp4", scene, size.video_s, VIDEO_FPS)
    _write_sample(output / "sample.jpg", scene)


def _write_sample(path: Path, scene: Scene) -> None:
    """Infrared, visible and what the shipped model makes of them, side by side."""
    from .scenes import SceneRenderer

    frame = SceneRenderer(scene).frame(0.0)
    visible = split_colour(frame.visible_hw3)
    with Fuser() as fuser:
        fused = join_colour(fuser.fuse(frame.infrared_hw, visible.luma_hw), visible)
    infrared_hw3 = np.repeat(frame.infrared_hw[..., None], 3, axis=2)
    write_picture(path, np.concatenate([infrared_hw3, frame.visible_hw3, fused], axis=1))


def _write_config(path: Path, output: Path, teacher: Path, seed: int, size: DemoSize) -> None:
    """A small heir of a shipped model, which is its teacher here: no published checkpoint is at hand."""
    text = f"""\
name = "irvis-demo"
teacher = {json.dumps(str(teacher))}
start = {json.dumps(str(teacher))}
guide_steps = {size.steps // 2}
pairs = [{json.dumps(str(output / "train"))}]
val_pairs = [{json.dumps(str(output / "val"))}]
output = {json.dumps(str(output / "run"))}
cache = {json.dumps(str(output / "run" / "teacher-cache"))}
steps = {size.steps}
validate_every = {max(1, size.steps // 4)}
checkpoint_every = {max(1, size.steps // 4)}
warmup_steps = {min(50, size.steps // 4)}
learning_rate = 3e-3
crop_px = 128
late_batch = 3
late_crop_px = 192
fresh_every = 2
precision = "fp32"
seed = {seed}

[student]
front_channels = 16
deep_channels = 32
lift_channels = 32
back_channels = 32
"""
    write_text(path, text)


def _run_live(output: Path, model: Path, seed: int, size: DemoSize) -> None:
    """Two generated cameras through the live runtime, where GStreamer is installed."""
    if find_spec("gi") is None:
        _say("left out: `irvis live` needs GStreamer and PyGObject; `irvis doctor` says how to install them")
        return
    recording = (output / "live.mkv").resolve()
    rig = f"""\
[visible]
source = "test://?camera=visible&width=320&height=240&fps=15&seed={seed}"
[infrared]
source = "test://?camera=infrared&width=320&height=240&fps=15&seed={seed}"
[registration]
homography = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
[[output]]
sink = {json.dumps(f"file://{recording}")}
overwrite = true
"""
    write_text(output / "rig.toml", rig)
    _run(
        *("live", output / "rig.toml", "--seconds", size.live_s),
        *("--status", output / "status.json", "--model", model),
    )


def _run(*words: object) -> None:
    """Runs a sub-command as the dispatcher would, after showing it."""
    arguments = [str(word) for word in words]
    _say(f"$ irvis {shlex.join(arguments)}")
    code = dispatcher.find_command(arguments[0])(arguments[1:])
    if code != 0:
        raise ContractError(
            f"`irvis {shlex.join(arguments)}` ended with exit code {code}; its lines above say why"
        )


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()
