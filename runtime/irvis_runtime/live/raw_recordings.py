"""`irvis raw`: two cameras' frames as raw files, and the rig that plays them, to measure `irvis live` with.

A raw source costs next to nothing to read, so that what is measured is irvis.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from irvis_runtime import atomic
from irvis_runtime.buffers import bytes_of, new_buffer
from irvis_runtime.cameras.feed import fps_fraction
from irvis_runtime.cameras.registration import stretch
from irvis_runtime.cli import Parser, picture_size, whole_number
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import (
    Description,
    build_pipeline,
    gst,
    packed,
    start_pipeline,
    stop_pipeline,
    stop_reason,
)
from irvis_runtime.image import join_colour, luma_bt601, match_infrared, opencv, read_picture, read_visible
from irvis_runtime.pairs import Pair, find_dataset_pairs
from irvis_runtime.progress import Progress
from irvis_runtime.scenes import SceneRenderer, random_scene
from irvis_runtime.thermal.agc import stretch_to_8_bit

Depth = Literal["8", "16"]
Size = tuple[int, int]

VIEW_33 = np.array([[0.98, 0.01, 0.00625], [0.0, 0.99, 0.00625], [0.0, 0.0, 1.0]])
"""Where the infrared camera of registered pairs is made to look, in fractions of the picture's sides."""
CONVERT_S = 10


@dataclass(frozen=True)
class Look:
    """What both cameras see at one time; the infrared picture is not registered.

    `infrared_hw`: uint8, or uint16 counts. `visible_hw3`: uint8, blue first.
    """

    infrared_hw: NDArray[Any]
    visible_hw3: NDArray[np.uint8]


@dataclass(frozen=True)
class Recording:
    """What `irvis raw` is asked for; sizes are (height, width)."""

    folder: Path
    count: int
    fps: float
    infrared_fps: float
    visible_hw: Size
    infrared_hw: Size
    depth: Depth


def main(argv: Sequence[str]) -> int:
    """Runs `irvis raw ...`; the last line printed is the rig's path."""
    arguments = _parser().parse_args(argv)
    for fps in (arguments.fps, arguments.infrared_fps or arguments.fps):
        fps_fraction(fps)
    width, height = arguments.size
    infrared_width, infrared_height = arguments.infrared_size or arguments.size
    recording = Recording(
        folder=arguments.output.absolute(),
        count=arguments.count,
        fps=arguments.fps,
        infrared_fps=arguments.infrared_fps or arguments.fps,
        visible_hw=(height, width),
        infrared_hw=(infrared_height, infrared_width),
        depth=arguments.bits,
    )
    if arguments.pairs is None:
        rig = record_scene(recording, arguments.seed)
    else:
        rig = record_pairs(recording, find_dataset_pairs(arguments.pairs))
    sys.stdout.write(f"{rig}\n")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="irvis raw",
        description="Write two cameras' frames as raw files, and the rig that plays them with `irvis live`.",
    )
    parser.add_argument(
        "pairs",
        type=Path,
        nargs="?",
        metavar="PAIRS",
        help="folder with ir/ and vis/; a generated scene if absent",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write into"
    )
    parser.add_argument(
        "--count",
        type=whole_number(1),
        default=20,
        metavar="N",
        help="frames; they are played round and round (20)",
    )
    parser.add_argument(
        "--size", type=picture_size, default=(640, 480), metavar="WxH", help="of the visible camera (640x480)"
    )
    parser.add_argument(
        "--infrared-size", type=picture_size, metavar="WxH", help="of the infrared camera (as --size)"
    )
    parser.add_argument(
        "--fps", type=float, default=30.0, metavar="N", help="frames a second in the rig (30)"
    )
    parser.add_argument("--infrared-fps", type=float, metavar="N", help="the infrared camera's (as --fps)")
    parser.add_argument(
        "--bits",
        choices=("8", "16"),
        default="8",
        help="of the infrared camera; 16: counts, as pairs have them (8)",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=1, metavar="N", help="which scene is generated (1)"
    )
    return parser


def record_scene(recording: Recording, seed: int) -> Path:
    """Writes the first frames of a generated scene, both cameras as they see it; returns the rig."""
    renderer = SceneRenderer(random_scene(seed, recording.visible_hw), recording.infrared_hw)

    def looks() -> Iterator[Look]:
        for index in range(recording.count):
            frame = renderer.frame_raw(index / recording.fps)
            yield Look(frame.infrared_hw if recording.depth == "8" else frame.counts_hw, frame.visible_hw3)

    return _record(recording, looks(), renderer.homography_33)


def record_pairs(recording: Recording, pairs: Sequence[Pair]) -> Path:
    """Writes registered pairs, in turn, the infrared picture as a camera beside the visible one sees it.

    Its homography is in the rig, so that what the runtime fuses is registered again. ContractError for 16
    bits where the pictures have 8.
    """
    homography_33 = side_view(recording.infrared_hw, recording.visible_hw)

    def looks() -> Iterator[Look]:
        for index in range(recording.count):
            yield _look(pairs[index % len(pairs)], recording, homography_33)

    return _record(recording, looks(), homography_33)


def side_view(infrared_hw: Size, visible_hw: Size) -> NDArray[np.float64]:
    """Returns the homography, infrared pixels -> visible pixels, of the view that `record_pairs` makes."""
    height, width = visible_hw
    to_pixels = np.diag([width, height, 1.0])
    view_33 = to_pixels @ VIEW_33 @ np.linalg.inv(to_pixels)
    return np.asarray(view_33 @ stretch(infrared_hw, visible_hw))


def _look(pair: Pair, recording: Recording, homography_33: NDArray[np.float64]) -> Look:
    cv2 = opencv()
    on_visible_hw, _ = match_infrared(_infrared(pair.infrared, recording.depth), recording.visible_hw)
    infrared_hw = cv2.warpPerspective(
        on_visible_hw, homography_33, recording.infrared_hw[::-1],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    visible = read_visible(pair.visible)
    visible_hw3 = join_colour(visible.luma_hw, visible)
    if visible_hw3.ndim == 2:
        visible_hw3 = cv2.cvtColor(visible_hw3, cv2.COLOR_GRAY2BGR)
    if visible_hw3.shape[:2] != recording.visible_hw:
        visible_hw3 = cv2.resize(visible_hw3, recording.visible_hw[::-1], interpolation=cv2.INTER_AREA)
    return Look(infrared_hw, visible_hw3)


def _infrared(path: Path, depth: Depth) -> NDArray[Any]:
    """The infrared picture with so many bits; ContractError where it would have to be given more."""
    picture = read_picture(path)
    grey_hw = picture if picture.ndim == 2 else luma_bt601(picture)
    if depth == "8":
        return stretch_to_8_bit(grey_hw) if grey_hw.dtype == np.uint16 else grey_hw
    if grey_hw.dtype != np.uint16:
        raise ContractError(
            f"{path}: expected 16 bits a pixel for --bits 16, got 8; name 16-bit pairs, or none for a "
            "generated scene"
        )
    return grey_hw


def _record(recording: Recording, looks: Iterator[Look], homography_33: NDArray[np.float64]) -> Path:
    """Writes both files, then the rig."""
    folder, rig = recording.folder, recording.folder / "rig.toml"
    if rig.exists():
        raise ContractError(f"{rig} exists and is not replaced; name another folder with -o")
    grey = "gray8" if recording.depth == "8" else "gray16"
    visible, infrared = folder / "visible.nv12", folder / f"infrared.{grey}"
    with ExitStack() as stack:
        visible_file, infrared_file = (
            stack.enter_context(stack.enter_context(atomic.replacing(path)).open("wb"))
            for path in (visible, infrared)
        )
        to_nv12 = stack.enter_context(converting_to_nv12(recording.visible_hw))
        progress = stack.enter_context(Progress("frames", recording.count))
        for look in looks:
            visible_file.write(to_nv12(look.visible_hw3))
            infrared_file.write(packed([look.infrared_hw]))
            progress.step()
    sources = (
        raw_uri(visible, recording.visible_hw, "nv12", recording.fps),
        raw_uri(infrared, recording.infrared_hw, grey, recording.infrared_fps),
    )
    atomic.write_text(rig, rig_text(*sources, homography_33))
    return rig


def raw_uri(path: Path, size_hw: Size, form: str, fps: float) -> str:
    """Returns the source that plays the file."""
    height, width = size_hw
    return f"raw://{quote(str(path))}?width={width}&height={height}&format={form}&fps={fps:g}"


def rig_text(visible: str, infrared: str, homography_33: NDArray[np.float64]) -> str:
    """Returns a rig of two sources whose picture is thrown away."""
    rows = ", ".join(str([float(f"{value:.9g}") for value in row]) for row in homography_33)
    return f"""\
[visible]
source = {json.dumps(visible)}
[infrared]
source = {json.dumps(infrared)}
[registration]
homography = [{rows}]
[[output]]
sink = "null://"
"""


@contextmanager
def converting_to_nv12(size_hw: Size) -> Iterator[Callable[[NDArray[np.uint8]], bytes]]:
    """Yields (H, W, 3 BGR) -> NV12 of GStreamer's default layout and colorimetry, as a camera gives it."""
    height, width = size_hw
    caps = f"video/x-raw,format=BGR,width={width},height={height},framerate=30/1"
    pipeline = build_pipeline(
        Description(
            f"appsrc name=bgr format=time block=true caps={caps} ! videoconvert ! "
            "video/x-raw,format=NV12 ! appsink name=nv12 sync=false"
        )
    )
    start_pipeline(pipeline, time.monotonic_ns())
    appsrc, appsink = pipeline.get_by_name("bgr"), pipeline.get_by_name("nv12")

    def convert(bgr_hw3: NDArray[np.uint8]) -> bytes:
        appsrc.push_buffer(new_buffer([bgr_hw3]))
        sample = appsink.try_pull_sample(CONVERT_S * gst().SECOND)
        if sample is None:
            raise BackendError(f"GStreamer: {stop_reason(pipeline) or 'it converts no picture to NV12'}")
        return bytes_of(sample.get_buffer()).tobytes()

    try:
        yield convert
    finally:
        stop_pipeline(pipeline)
