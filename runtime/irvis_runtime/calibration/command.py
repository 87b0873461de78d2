"""`irvis calibrate`: where the infrared picture lies on the visible one, into the rig file."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import get_args

from irvis_runtime.cli import Parser, whole_number
from irvis_runtime.errors import ContractError
from irvis_runtime.image import checked_picture_suffix, write_picture
from irvis_runtime.output_paths import is_same_file
from irvis_runtime.rig import Rig, load_rig

from .board import BoardKind, match_boards
from .fit import Fit, Points, fit_points
from .overlay import draw_overlay
from .parallax import parallax_table
from .pictures import grab_pictures, read_pictures, sizes_of
from .points import read_points
from .rig_writing import write_registration
from .scene import fit_scene
from .search import PicturePair

TOLERANCE_SHARE = 0.005
"""How far off an agreeing point may be, of the visible picture's width; 3 px of 640."""

MAX_LENGTH = 1e6
"""In pixels and in millimetres, that --parallax takes."""


def main(argv: Sequence[str]) -> int:
    """Runs `irvis calibrate ...` and returns its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.evaluate is not None:
        from .evaluate import evaluate_folder

        sys.stdout.write(evaluate_folder(arguments.evaluate, arguments.limit, arguments.seed, arguments.json))
        return 0
    if arguments.rig is None:
        raise ContractError("irvis calibrate: expected a rig file; `irvis calibrate --help` tells more")
    rig = load_rig(arguments.rig)
    if arguments.parallax:
        return _print_parallax(rig, arguments)
    _check_arguments(arguments)
    overlay = arguments.overlay or arguments.rig.with_suffix(".calibration.png")
    checked_picture_suffix(overlay)
    _check_keeps_inputs(overlay, arguments)
    pairs = _pictures(rig, arguments)
    fit, visible_n2 = _fit(pairs, arguments)
    write_picture(overlay, draw_overlay(*pairs[0], fit.homography_33, visible_n2[fit.is_inlier_n]))
    sys.stdout.write(f"{fit.summary()}\n{overlay}: look at it: edges must lie on edges\n")
    if not arguments.dry_run:
        infrared_hw, visible_hw = (picture.shape[:2] for picture in pairs[0])
        former = write_registration(arguments.rig, fit.homography_33, infrared_hw, visible_hw)
        sys.stdout.write(f"{arguments.rig}: [registration] homography written; the former file is {former}\n")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="irvis calibrate",
        description="Find how the infrared picture lies on the visible one and put it into the rig file.",
        epilog="Without --pictures the rig's own cameras are looked through.",
    )
    parser.add_argument("rig", type=Path, nargs="?", metavar="RIG.toml", help="the rig file to calibrate")
    _add_ways(parser)
    _add_looks(parser)
    parser.add_argument("--focal-px", type=_length, metavar="F", help="--parallax: of the visible camera")
    parser.add_argument(
        "--baseline-mm", type=_length, metavar="B", help="--parallax: between the two cameras"
    )
    parser.add_argument(
        "--limit", type=whole_number(0), default=0, metavar="N", help="--evaluate: pairs a set (0: all)"
    )
    parser.add_argument("--seed", type=whole_number(0), default=0, help="--evaluate: decides the views")
    parser.add_argument("--json", type=Path, metavar="FILE", help="--evaluate: every pair's numbers")
    return parser


def _add_ways(parser: Parser) -> None:
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--scene", action="store_true", help="by what both cameras see, whatever it is")
    way.add_argument("--board", choices=get_args(BoardKind), help="by a heated board that both cameras see")
    way.add_argument(
        "--points", type=Path, metavar="FILE", help="by a text file: infrared x, y, visible x, y a line"
    )
    way.add_argument("--parallax", action="store_true", help="print the shift in pixels against distance")
    way.add_argument(
        "--evaluate", type=Path, metavar="FOLDER", help="measure on pairs in FOLDER whose truth is known"
    )
    parser.add_argument(
        "--size", metavar="CxR", help="columns x rows: circles, or inner corners of the checkerboard"
    )


def _add_looks(parser: Parser) -> None:
    parser.add_argument(
        "--pictures",
        type=Path,
        nargs=2,
        action="append",
        metavar=("IR", "VIS"),
        help="two pictures or two folders; may be repeated: all pairs are of the one rig",
    )
    parser.add_argument("--frames", type=int, default=5, help="pairs to take from the cameras (default 5)")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between them (1)")
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="PX",
        help="how far off an agreeing point may be (0.5 %% of the width)",
    )
    parser.add_argument(
        "--overlay", type=Path, metavar="FILE", help="picture to look at (RIG.calibration.png)"
    )
    parser.add_argument("--dry-run", action="store_true", help="leave the rig file as it is")


def _check_arguments(arguments: argparse.Namespace) -> None:
    if not (arguments.scene or arguments.board or arguments.points):
        raise ContractError("irvis calibrate: expected one of --points, --board or --scene, got none")
    if bool(arguments.board) != bool(arguments.size):
        raise ContractError("irvis calibrate: --board and --size go together: --board circles --size 9x6")
    if arguments.size:
        _board_size(arguments.size)
    if arguments.frames < 1 or not 0 <= arguments.every <= 3600:
        raise ContractError(
            "--frames, --every: expected 1 or more and 0 to 3600 s, "
            f"got {arguments.frames}, {arguments.every:g}"
        )
    if arguments.tolerance is not None and not 0 < arguments.tolerance < 1000:
        raise ContractError(f"--tolerance: expected 0 to 1000 px, got {arguments.tolerance:g}")


def _check_keeps_inputs(overlay: Path, arguments: argparse.Namespace) -> None:
    """ContractError where the picture to look at would replace a file that this run reads."""
    given = [arguments.rig, arguments.points, *chain.from_iterable(arguments.pictures or ())]
    for path in filter(None, given):
        if any(is_same_file(overlay, file) for file in (path.iterdir() if path.is_dir() else (path,))):
            raise ContractError(
                f"{overlay}: the picture to look at would overwrite an input; name another with --overlay"
            )


def _pictures(rig: Rig, arguments: argparse.Namespace) -> list[PicturePair]:
    if arguments.pictures:
        files = [(infrared, visible) for infrared, visible in arguments.pictures]
        return read_pictures(files, rig.thermal)
    # Points are given already: a single pair tells the sizes, and is looked at.
    return grab_pictures(rig, 1 if arguments.points else arguments.frames, arguments.every)


def _fit(pairs: list[PicturePair], arguments: argparse.Namespace) -> tuple[Fit, Points]:
    """The fit, and the visible points that it was asked to meet."""
    if arguments.scene:
        found = fit_scene(pairs)
        return found.fit, found.matches.visible_n2
    infrared_hw, visible_hw = sizes_of(pairs[0])
    if arguments.board:
        infrared_n2, visible_n2, count = match_boards(pairs, arguments.board, _board_size(arguments.size))
        sys.stdout.write(f"the board was found in {count} of {len(pairs)} pairs\n")
    else:
        infrared_n2, visible_n2 = read_points(arguments.points)
    tolerance_px = arguments.tolerance or max(TOLERANCE_SHARE * visible_hw[1], 1.0)
    return fit_points(infrared_n2, visible_n2, infrared_hw, visible_hw, tolerance_px), visible_n2


def _board_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,3})x(\d{1,3})", text)
    if match is None or min(int(match[1]), int(match[2])) < 3:
        raise ContractError(f"--size: expected columns x rows, each 3 or more, as in 9x6, got {text!r}")
    return int(match[1]), int(match[2])


def _length(text: str) -> float:
    """The type of an argument that is a length in pixels or millimetres."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MAX_LENGTH:
        raise argparse.ArgumentTypeError(f"expected a number above 0, at most {MAX_LENGTH:g}, got {text!r}")
    return value


def _print_parallax(rig: Rig, arguments: argparse.Namespace) -> int:
    config = rig.registration
    focal_px = arguments.focal_px or config.focal_px
    baseline_m = (
        arguments.baseline_mm / 1e3 if arguments.baseline_mm else math.hypot(*config.baseline_m or ())
    )
    if not focal_px or not 0 < baseline_m < math.inf:
        missing = "no focal length" if not focal_px else "no baseline"
        raise ContractError(
            "--parallax: expected --focal-px and --baseline-mm, or focal_px and baseline_m in the rig's "
            f"[registration], got {missing}; the focal length is width / (2 tan(horizontal view / 2))"
        )
    sys.stdout.write("\n".join(parallax_table(focal_px, baseline_m, config.calibrated_m)) + "\n")
    return 0
