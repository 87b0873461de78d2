"""`irvis train steer`: what texts did to teachers, measured on pairs and shown side by side."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from irvis_runtime.atomic import write_text
from irvis_runtime.errors import ContractError
from irvis_runtime.progress import Progress

from .checkerboard import checkerboard_db
from .hot_targets import background_gradient, find_hot_targets, target_contrast
from .steering_report import (
    BOTH,
    CONTRAST,
    GRADIENT,
    PUBLISHED,
    Comparison,
    Steered,
    Verdict,
    judge,
    line_name,
    report_json,
    report_markdown,
)
from .steering_sheet import Row, write_sheets
from .teacher import SUFFIX, load_teacher
from .teacher_data import TrainingPair, read_training_pairs
from .tensor_files import read_tensors


def steer(
    teachers: Mapping[str, Path],
    folders: Sequence[str],
    output: Path,
    published: Path | None = None,
    comparisons: Sequence[Comparison] = (),
    exclude: Sequence[str] = (),
    rows: int = 8,
) -> list[Verdict]:
    """Measures teachers, by label, on all pairs; writes steering.json, steering.md, sheet.png and detail.png.

    `published`: the checkpoint to stand beside them. `rows`: pairs on the sheets. ContractError for a label
    that is compared and not given, besides what the files themselves are refused for.
    """
    named = {**({PUBLISHED: published} if published is not None else {}), **teachers}
    for label in (name for each in comparisons for name in (each.label, each.opposite)):
        if label not in named:
            raise ContractError(f"--compare: no teacher has the label {label!r}; known: {', '.join(named)}")
    if rows < 1:
        raise ContractError(f"--rows: expected 1 or more, got {rows}")
    networks = {label: load_teacher(path) for label, path in named.items()}
    pairs = read_training_pairs(folders, exclude, longest_side_px=10000)
    found = [Steered(label, str(path), texts_of(path)) for label, path in named.items()]
    shown = set(np.linspace(0, len(pairs) - 1, min(rows, len(pairs))).round().astype(int).tolist())
    sheet: list[Row] = []
    with Progress("fusing", len(pairs)) as progress:
        for index, pair in enumerate(pairs):
            pictures = _measure(pair, networks, found)
            if index in shown:
                sheet.append(_row(pair, pictures))
            progress.step(pair.name)
    verdicts = [judge(each, {steered.label: steered for steered in found}) for each in comparisons]
    write_text(output / "steering.json", report_json(found, verdicts))
    write_text(output / "steering.md", report_markdown(found, verdicts, len(pairs)))
    write_sheets(output, ["infrared", "visible", *named], sheet)
    return verdicts


def texts_of(teacher: Path) -> list[str]:
    """The texts that a teacher was trained by, as its file says; none for published checkpoints."""
    if teacher.suffix != SUFFIX:
        return []
    provenance = json.loads(read_tensors(teacher, "train it again")[1].get("provenance", "{}"))
    return list(provenance.get("config", {}).get("objective", {}).get("texts_fused", []))


def add_steer_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what `run_steer` takes."""
    parser.add_argument(
        "teachers", nargs="+", metavar="TEACHER=LABEL", help="a teacher and its text's short name"
    )
    parser.add_argument("--pairs", nargs="+", required=True, metavar="DIR", help="folders with ir/ and vis/")
    parser.add_argument(
        "--exclude", nargs="*", default=[], metavar="PART", help="parts of names to leave out"
    )
    parser.add_argument("--published", type=Path, help="the published checkpoint, to stand beside them")
    parser.add_argument(
        "--compare",
        nargs="*",
        default=[],
        metavar="LABEL:OPPOSITE:MEASURE",
        help=f"judge a text against its opposite by {CONTRAST}, {GRADIENT} or {BOTH}",
    )
    parser.add_argument("--rows", type=int, default=8, help="pairs on the sheets (default 8)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the report")


def run_steer(arguments: argparse.Namespace) -> Path:
    """Does what the arguments say and returns the report's path."""
    teachers: dict[str, Path] = {}
    for text in arguments.teachers:
        path, equals, label = text.rpartition("=")
        if not equals or not path or not label or ":" in label:
            raise ContractError(f"expected TEACHER=LABEL, a label without colon, got {text!r}")
        if label in teachers or label == PUBLISHED:
            raise ContractError(f"{text}: the label {label!r} is taken; give each teacher its own")
        teachers[label] = Path(path)
    comparisons = [Comparison.parse(text) for text in arguments.compare]
    steer(
        teachers,
        arguments.pairs,
        arguments.output,
        arguments.published,
        comparisons,
        arguments.exclude,
        arguments.rows,
    )
    report: Path = arguments.output / "steering.md"
    return report


def _measure(
    pair: TrainingPair, networks: Mapping[str, nn.Module], found: Sequence[Steered]
) -> dict[str, Tensor]:
    """Adds this pair's measures to each teacher's and returns the fused pictures by label."""
    planes = pair.planes()
    infrared, visible = planes[:, :1], planes[:, 1:]
    mask = find_hot_targets(infrared)
    pictures: dict[str, Tensor] = {}
    for steered in found:
        with torch.no_grad():
            fused = networks[steered.label](infrared, visible).clamp(0.0, 1.0)
        lines = checkerboard_db(fused, infrared, visible)
        values = {
            CONTRAST: float(target_contrast(fused, mask)),
            GRADIENT: float(background_gradient(fused, mask)),
        }
        values |= {line_name(period_px): value for period_px, value in lines.items()}
        steered.per_pair[pair.name] = {
            name: value if math.isfinite(value) else None for name, value in values.items()
        }
        pictures[steered.label] = fused
    return pictures


def _row(pair: TrainingPair, pictures: Mapping[str, Tensor]) -> Row:
    fused: list[NDArray[np.uint8]] = [
        (picture[0, 0] * 255.0).round().to(torch.uint8).numpy() for picture in pictures.values()
    ]
    centre = np.median(pair.places_p2, axis=0) if len(pair.places_p2) else np.array(pair.visible_hw.shape) / 2
    # A pixel of the target itself: the middle of two targets is neither.
    if len(pair.places_p2):
        centre = pair.places_p2[np.abs(pair.places_p2 - centre).sum(axis=1).argmin()]
    return Row(pair.name, [pair.infrared_hw, pair.visible_hw, *fused], (int(centre[0]), int(centre[1])))
