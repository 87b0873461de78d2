"""`irvis fuse`: two pictures, folders or videos to one."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irvis_runtime import __version__, atomic
from irvis_runtime.backends.choice import BACKENDS
from irvis_runtime.cli import Parser
from irvis_runtime.contract import PRECISIONS
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.fuser import Fuser
from irvis_runtime.image import join_colour, write_picture
from irvis_runtime.pairs import Pair, find_pairs, find_unpaired, open_pair
from irvis_runtime.progress import Progress
from irvis_runtime.thermal.agc import Agc, StretchAgc

from .gain import CountingAgc, asked_gain
from .paths import FusePaths, check_paths
from .video import fuse_videos

NAMES_SHOWN = 5

DESCRIPTION = "Fuses an infrared and a visible picture, two folders of them, or two videos, into one."
EPILOG = """\
pictures  PNG, JPEG or TIFF, 8 or 16 bits. 16-bit infrared is stretched between its 0.5 and 99.5
          percentile unless --agc or --range say otherwise, 16-bit visible is divided by 257. The
          result has 8 bits and the visible picture's colour. It goes to OUT, or under the visible
          picture's name into OUT where that is a folder. An EXIF orientation is not applied.
folders   Pictures of the same name, whatever their suffixes; results go into the folder OUT as PNG.
          A pair that cannot be fused is reported, the others are fused, and the exit code is 2.
videos    OUT is .mp4 (MPEG-4), .avi (Motion JPEG) or .mkv (FFV1, lossless). Frames are decoded to
          8 bits. The two begin together and frames are matched by their times. The frame rate is the
          visible video's, the length the shorter one's; frames that come unevenly are repeated or
          left out to keep their time. Sound is not carried over.

The two must show the same view; infrared of another size is resized onto the visible picture.
"""


@dataclass(frozen=True)
class FuseOptions:
    """What `irvis fuse` is asked to do."""

    infrared: Path
    visible: Path
    output: Path
    model_dir: Path | None = None
    """None takes the shipped model."""
    precision: str = "auto"
    backend: str = "auto"
    is_verbose: bool = False
    """Say first what fuses, and why that."""
    is_gray: bool = False
    """Write the fused luma without the visible picture's colour."""
    agc: Agc | None = None
    """How 16-bit infrared pictures become 8 bits; None: by `StretchAgc`, nothing was asked for."""
    record: Path | None = None
    """Where the record of what was done goes, as JSON."""


@dataclass
class FuseRecord:
    """What was done."""

    pictures: list[dict[str, Any]] = field(default_factory=list)
    """One entry a picture: name, files, size and milliseconds; one for a whole video."""
    failed: list[dict[str, str]] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)


def main(argv: Sequence[str]) -> int:
    """Runs `irvis fuse ARGS`; returns 0 or raises an error of irvis."""
    given = _parser().parse_args(argv)
    options = FuseOptions(
        infrared=given.infrared,
        visible=given.visible,
        output=given.output,
        model_dir=given.model,
        precision=given.precision,
        backend=given.backend,
        is_verbose=given.verbose,
        is_gray=given.gray,
        agc=asked_gain(given.agc, given.range),
        record=given.json,
    )
    fuse(options)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="irvis fuse",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("infrared", type=Path, metavar="IR", help="infrared picture, folder or video")
    parser.add_argument("visible", type=Path, metavar="VISIBLE", help="visible picture, folder or video")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", required=True, help="the fused result")
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help="model directory (default: the shipped one)"
    )
    parser.add_argument("--precision", choices=("auto", *PRECISIONS), default="auto", help="(default: auto)")
    parser.add_argument("--backend", choices=("auto", *BACKENDS), default="auto", help="(default: auto)")
    parser.add_argument("-v", "--verbose", action="store_true", help="say first what fuses, and why that")
    parser.add_argument("--gray", action="store_true", help="write luma without the visible picture's colour")
    parser.add_argument(
        "--agc", choices=("linear", "plateau"), help="gain of 16-bit infrared (default: linear)"
    )
    parser.add_argument(
        "--range",
        type=float,
        nargs=2,
        metavar=("BLACK", "WHITE"),
        help="counts of 16-bit infrared, the same for every picture",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write names, sizes and milliseconds")
    return parser


def fuse(options: FuseOptions) -> FuseRecord:
    """Fuses what the options name; ContractError or BackendError where some of it could not be fused."""
    paths = check_paths(options.infrared, options.visible, options.output, options.record)
    if paths.kind == "video" and options.agc is not None:
        raise ContractError(
            "--agc and --range: expected 16-bit pictures, got videos, which are decoded to 8 bits; "
            "leave them out, or fuse two folders of pictures"
        )
    record = FuseRecord()
    with Fuser(options.model_dir, options.precision, options.backend) as fuser:
        if options.is_verbose:
            _say(fuser.description)
        if paths.kind == "folder":
            _fuse_folders(fuser, paths, options, record)
        elif paths.kind == "video":
            entry, notices = fuse_videos(fuser, paths.infrared, paths.visible, paths.output, options.is_gray)
            record.pictures.append(entry)
            for notice in notices:
                _say(notice)
        else:
            pair = Pair(paths.visible.stem, paths.infrared, paths.visible)
            picture, entry = _fuse_pair(fuser, pair, options)
            _write(paths.output, picture, entry, record)
    _finish(options, fuser, record)
    return record


def _fuse_folders(fuser: Fuser, paths: FusePaths, options: FuseOptions, record: FuseRecord) -> None:
    """Fuses every pair; a bad one is reported and passed over, an unwritable output ends the run."""
    pairs = find_pairs(paths.infrared, paths.visible)
    record.unpaired = [str(path) for path in find_unpaired(paths.infrared, paths.visible)]
    if record.unpaired:
        more = ", ..." if len(record.unpaired) > NAMES_SHOWN else ""
        names = ", ".join(record.unpaired[:NAMES_SHOWN]) + more
        _say(f"{len(record.unpaired)} pictures have no partner of their name and are left out: {names}")
    with Progress("fusing", len(pairs)) as progress:
        for pair in pairs:
            try:
                picture, entry = _fuse_pair(fuser, pair, options)
            except (ContractError, BackendError) as error:
                _say(str(error))
                record.failed.append({"name": pair.name, "error": str(error)})
            else:
                _write(paths.output / f"{pair.name}.png", picture, entry, record)
            progress.step(f"{len(record.failed)} failed" if record.failed else "")


def _fuse_pair(fuser: Fuser, pair: Pair, options: FuseOptions) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """The picture to write, and its entry in the record."""
    gain = CountingAgc(options.agc or StretchAgc())
    opened = open_pair(pair, gain)
    start = time.perf_counter()
    fused_hw = fuser.fuse(opened.infrared_hw, opened.visible.luma_hw)
    fuse_ms = (time.perf_counter() - start) * 1e3
    entry = {
        "name": pair.name,
        "infrared": str(pair.infrared),
        "visible": str(pair.visible),
        "width": fused_hw.shape[1],
        "height": fused_hw.shape[0],
        "infrared_bits": 16 if gain.pictures else 8,
        "infrared_resized": opened.was_resized,
        "fuse_ms": round(fuse_ms, 3),
    }
    return fused_hw if options.is_gray else join_colour(fused_hw, opened.visible), entry


def _write(output: Path, picture: NDArray[np.uint8], entry: dict[str, Any], record: FuseRecord) -> None:
    write_picture(output, picture)
    record.pictures.append({**entry, "output": str(output)})


def _finish(options: FuseOptions, fuser: Fuser, record: FuseRecord) -> None:
    """Says what the user should know, writes the record, and ends a run with failures as an error."""
    resized = sum(entry["infrared_resized"] for entry in record.pictures)
    total = len(record.pictures) + len(record.failed)
    if resized:
        _say(f"{resized} of {total} infrared inputs had another size and were resized onto the visible ones")
    given_8_bits = sum(entry.get("infrared_bits") == 8 for entry in record.pictures)
    if options.agc is not None and given_8_bits:
        _say(
            f"{given_8_bits} of {total} infrared inputs have 8 bits and were taken as they are; "
            "--agc and --range are for 16 bits"
        )
    if options.record is not None:
        content = {
            "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "irvis": __version__,
            "model": str(fuser.model_dir),
            "backend": fuser.backend,
            "precision": fuser.precision,
            "reason": fuser.reason,
            "versions": fuser.versions,
            **vars(record),
        }
        atomic.write_text(options.record, json.dumps(content, indent=2, allow_nan=False) + "\n")
    if record.failed:
        raise ContractError(
            f"{len(record.failed)} of {total} pairs could not be fused, as said above; "
            f"the others are in {options.output}"
        )


def _say(text: str) -> None:
    """One line on stderr, over the progress line where there is one."""
    erase = "\r\x1b[K" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{erase}irvis fuse: {' '.join(text.split())}\n")
