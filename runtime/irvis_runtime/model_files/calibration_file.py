"""calibration.json: what quantization chose layer by layer, and what each choice cost against the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irvis_runtime.bench.fields import read_fields, to_json
from irvis_runtime.bench.file import FidelitySummary, PictureSet
from irvis_runtime.strict_json import parse

from .checked_files import read_file

CALIBRATION_NAME = "calibration.json"
CALIBRATION_SCHEMA = 3
"""1 had no number of its own, one INT8 file and no layers; 2 equalized no channels."""
MAX_CALIBRATION_BYTES = 4 << 20
ADVICE = "run `irvis quantize` again"


@dataclass(frozen=True)
class Levels:
    """The levels of one tensor."""

    tensor: str
    low: float
    """The least and the largest value that levels stand for."""
    high: float
    scale: float
    zero_point: int
    clipped_share: float
    """Of the values that calibration saw, those beyond."""


@dataclass(frozen=True)
class LayerChoice:
    """One convolution."""

    name: str
    takes: str
    """The tensor whose levels it takes."""
    precision: str
    """"int8", or what it was left in: "fp32" or "fp16"."""
    alone_drop_db: float
    """PSNR to the teacher that is lost where this layer alone is INT8, over calibration pairs."""
    alone_agreement_db: float
    """PSNR to FP32's picture where this layer alone is INT8."""


@dataclass(frozen=True)
class WorstPixel:
    """The pixel that differs most from FP32's."""

    pair: str
    row: int
    column: int
    fp32: int
    quantized: int


@dataclass(frozen=True)
class PrecisionChoice:
    """One quantized file."""

    sha256: str | None
    """Of the file; None where the gate refused it."""
    failures: tuple[str, ...]
    """Why the gate refused it."""
    to_teacher: FidelitySummary
    to_fp32: FidelitySummary
    worst_pixel: WorstPixel
    moved: tuple[str, ...]
    """The layers that did not become INT8 for the gate's sake, in the order in which they were taken."""
    layers: tuple[LayerChoice, ...]
    """In the graph's order; none for a file without INT8."""
    levels: tuple[Levels, ...]
    """What convolutions and sums take and give as levels, in the graph's order."""


@dataclass(frozen=True)
class CalibrationFile:
    """One run of `irvis quantize`; what an earlier one chose is not in it."""

    schema: int
    command: str
    method: str | None
    """How the ranges of INT8 for ONNX Runtime were found; None where it was not asked for."""
    weights: str
    """"compensated": rounded for the least error of a layer's output; or "nearest"."""
    equalized: str | None
    """How far channels were brought nearer to one range: "none", "between convolutions", "across sums"; None
    without INT8."""
    equalized_agreement_db: dict[str, float]
    """By scope, PSNR to FP32 over the calibration pairs, by which it was chosen."""
    unit: str
    """Of the errors in `held_out_error` and `descent`."""
    held_out_error: dict[str, float]
    """By method."""
    calibration_pairs: tuple[str, ...]
    held_out_pairs: tuple[str, ...]
    fp32_to_teacher: FidelitySummary
    precisions: dict[str, PrecisionChoice]
    pictures: tuple[PictureSet, ...]
    """The held-out pair that each INT8 file changed most; files relative to calibration.json."""
    descent: tuple[dict[str, object], ...]
    """Step by step, tensor by tensor."""


def calibration_to_json(calibration: CalibrationFile) -> str:
    """The text of a calibration.json."""
    return to_json(calibration)


def load_calibration(path: Path) -> CalibrationFile:
    """Reads a calibration.json; ContractError that names the file and the field where it is not one."""
    content = read_file(path, "a calibration.json that `irvis quantize` wrote", MAX_CALIBRATION_BYTES)
    root = parse(content.decode(errors="replace"), str(path), ADVICE)
    schema = root.mapping().get("schema", root.child("schema", None))
    if type(schema.value) is not int or schema.value != CALIBRATION_SCHEMA:
        raise schema.error(f"{CALIBRATION_SCHEMA}, which this version of irvis reads")
    return read_fields(CalibrationFile, root)
