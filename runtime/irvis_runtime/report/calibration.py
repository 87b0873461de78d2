"""What quantization chose, from calibration.json: what each file keeps, and what each layer costs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from irvis_runtime.bench.file import Bench, FidelitySummary
from irvis_runtime.errors import ContractError
from irvis_runtime.model_files.calibration_file import (
    CALIBRATION_NAME,
    CalibrationFile,
    LayerChoice,
    PrecisionChoice,
    load_calibration,
)

from .chart import HEIGHT, WIDTH
from .markup import Html, element, join
from .numbers import title
from .tables import NOT_APPLICABLE, Cell, Table

Calibrations = Mapping[str, tuple[Path, CalibrationFile]]
"""Heading -> calibration.json and its content."""

PEAK = 255.0


def find_calibrations(benches: Sequence[tuple[Path, Bench]], named: Sequence[Path]) -> Calibrations:
    """Those named, and of each bench in a model directory that of its model, by the hash of a file.

    ContractError for one that is named and is none; one beside a bench that cannot be read is told on stderr.
    """
    found = {_heading(path): (path, load_calibration(path)) for path in named}
    for bench_path, bench in benches:
        path = bench_path.resolve().parent.parent / CALIBRATION_NAME
        if not path.is_file() or path in [known.resolve() for known, _ in found.values()]:
            continue
        try:
            calibration = load_calibration(path)
        except ContractError as error:
            sys.stderr.write(f"irvis: the report is without {CALIBRATION_NAME}: {error}\n")
            continue
        if any(
            bench.model.files.get(name) == choice.sha256 for name, choice in calibration.precisions.items()
        ):
            found[_heading(path)] = (path, calibration)
    return found


def _heading(path: Path) -> str:
    return f"What quantization chose: {path.resolve().parent.name}"


def files_table(calibration: CalibrationFile) -> Table:
    """What FP32 and each quantized file show on the pairs held out."""
    fp32 = calibration.fp32_to_teacher
    rows = [(Cell("FP32", "name"), *_teacher_cells(fp32, fp32), *(NOT_APPLICABLE,) * 6)]
    for name, choice in calibration.precisions.items():
        worst = choice.worst_pixel
        rows.append(
            (
                Cell(title(name), "name"),
                *_teacher_cells(choice.to_teacher, fp32),
                Cell(_decibels(choice.to_fp32.psnr_db_mean)),
                Cell(_decibels(choice.to_fp32.psnr_db_worst)),
                Cell(f"{choice.to_fp32.ssim_mean:.4f}"),
                Cell(
                    f"{worst.fp32} became {worst.quantized} at {worst.column}, {worst.row} of {worst.pair}",
                    "text",
                ),
                Cell(str(len(choice.moved)) if choice.layers else "\N{EN DASH}"),
                Cell("; ".join(choice.failures) or "passed", "text"),
            )
        )
    return Table(
        caption=f"PSNR and SSIM over {fp32.pairs} pairs that calibration did not see",
        head=(
            "",
            "dB to teacher",
            "lost to FP32",
            "SSIM to teacher",
            "dB to FP32",
            "worst pair dB",
            "SSIM to FP32",
            "worst pixel (column, row)",
            "layers left in floats",
            "gate",
        ),
        rows=tuple(rows),
    )


def choices_text(calibration: CalibrationFile) -> str:
    """What the whole run chose, and by what figures; empty where it chose nothing, as without INT8."""
    choices = []
    if calibration.method is not None:
        errors = "; ".join(f"{name} {value:.2f}" for name, value in calibration.held_out_error.items())
        choices.append(f"Ranges by {calibration.method} (error on the pairs held out: {errors})")
    if calibration.equalized is not None:
        agreement = "; ".join(
            f"{key} {value:.2f} dB" for key, value in calibration.equalized_agreement_db.items()
        )
        choices.append(
            f"Channels equalized: {calibration.equalized} (to FP32, calibration pairs: {agreement})"
        )
        choices.append(f"Weights rounded: {calibration.weights}")
    return " ".join(f"{choice}." for choice in choices)


def layer_tables(calibration: CalibrationFile) -> list[tuple[str, Table, Html]]:
    """(heading, table, bars) for each way to levels; files with the same layers and levels share one."""
    shown: list[tuple[str, Table, Html]] = []
    known: list[PrecisionChoice] = []
    for name, choice in calibration.precisions.items():
        if not choice.layers or any(_is_same(choice, other) for other in known):
            continue
        known.append(choice)
        same = [key for key, other in calibration.precisions.items() if _is_same(choice, other)]
        heading = f"Layers of {' and '.join(map(title, same))}"
        shown.append((heading, _layer_table(choice), _bars(title(name), choice.layers)))
    return shown


def _is_same(a: PrecisionChoice, b: PrecisionChoice) -> bool:
    return a.levels == b.levels and a.moved == b.moved


def _layer_table(choice: PrecisionChoice) -> Table:
    levels = {entry.tensor: entry for entry in choice.levels}
    rows = []
    for layer in choice.layers:
        entry = levels.get(layer.takes)
        span = (
            (NOT_APPLICABLE,) * 4
            if entry is None
            else (
                Cell(f"{entry.low:.3g} to {entry.high:.3g}"),
                Cell(f"{entry.scale:.3g}"),
                Cell(str(entry.zero_point)),
                Cell(f"{entry.clipped_share:.3%}"),
            )
        )
        rows.append(
            (
                Cell(layer.name, "name"),
                Cell(title(layer.precision)),
                Cell(f"{layer.alone_drop_db:.3f}"),
                Cell(f"{layer.alone_agreement_db:.1f}"),
                *span,
            )
        )
    return Table(
        caption="Each layer, with the levels of what it takes",
        head=(
            "",
            "precision",
            "dB lost to the teacher, this layer alone",
            "dB to FP32, this layer alone",
            "range",
            "scale",
            "zero point",
            "clipped",
        ),
        rows=tuple(rows),
        notes=(
            "Alone: this layer is INT8 and all others are floats, over parts of calibration pairs.",
            "Clipped: the values that calibration saw outside the range.",
        ),
    )


def _bars(name: str, layers: Sequence[LayerChoice]) -> Html:
    """A bar per layer: the squared error to FP32's picture that it alone makes, in grey levels."""
    errors = {layer.name: PEAK**2 * 10.0 ** (-layer.alone_agreement_db / 10.0) for layer in layers}
    largest = max(errors.values())
    rows = []
    for layer in layers:
        width = f"{WIDTH * errors[layer.name] / largest:.1f}"
        kind = "stage-fuse" if layer.precision == "int8" else "stage-other"
        label = f"{layer.name}: mean squared error {errors[layer.name]:.3f}"
        bar = element(
            "svg",
            element("rect", x=0, y=3, width=width, height=14, class_=kind),
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            preserveAspectRatio="none",
            role="img",
            aria_label=label,
        )
        rows.append(
            join(
                element("div", layer.name, class_="bar-name"),
                element("div", bar, class_="bar"),
                element("div", element("b", f"{errors[layer.name]:.3f}"), class_="bar-value"),
            )
        )
    text = f"{name}: mean squared error to FP32's picture, in grey levels, of each layer alone as INT8. "
    legend = element(
        "p",
        text,
        element("i", class_="key stage-fuse"),
        " INT8  ",
        element("i", class_="key stage-other"),
        " left in floats",
        class_="legend",
    )
    return join(element("div", *rows, class_="chart"), legend)


def score_text(calibration: CalibrationFile, name: str) -> str:
    """How near the worst pair's picture of that precision is to FP32, for the caption."""
    choice = calibration.precisions.get(name)
    return "" if choice is None else f" {_decibels(choice.to_fp32.psnr_db_worst)} dB to FP32"


def _teacher_cells(summary: FidelitySummary, fp32: FidelitySummary) -> tuple[Cell, ...]:
    reached, base = summary.psnr_db_mean, fp32.psnr_db_mean
    return (
        Cell(_decibels(reached)),
        NOT_APPLICABLE
        if summary is fp32 or reached is None or base is None
        else Cell(f"{base - reached:.3f}"),
        Cell(f"{summary.ssim_mean:.4f}"),
    )


def _decibels(value: float | None) -> str:
    return "identical" if value is None else f"{value:.2f}"
