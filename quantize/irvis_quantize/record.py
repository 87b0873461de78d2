"""What one run found, as calibration.json keeps it: the final judgement with SSIM, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irvis_runtime.bench.file import TEACHER, FidelitySummary, PictureSet
from irvis_runtime.bench.pictures import DIFFERENCE_FACTOR, amplified_difference
from irvis_runtime.bench.quality import fidelity, summarize_fidelity
from irvis_runtime.contract import INFRARED, VISIBLE
from irvis_runtime.image import write_picture
from irvis_runtime.model_files.calibration_file import (
    LayerChoice,
    PrecisionChoice,
    WorstPixel,
)

from .gate import Limits, Reference, picture
from .mixed import LayerCost, Settled
from .plans import Plan
from .sessions import open_bytes

Picture = NDArray[np.uint8]

PICTURES_FOLDER = "calibration"
MOVED_TO = {"int8": "fp32", "int8-trt": "fp32", "int8-fp16-trt": "fp16"}


def describe_fp32(reference: Reference) -> FidelitySummary:
    """How near FP32's pictures are to the teacher's."""
    pictures = dict(zip(_names(reference), map(_bytes, reference.full_hw), strict=True))
    return _to_teacher(reference, pictures)


def describe(
    precision: str,
    settled: Settled,
    reference: Reference,
    limits: Limits,
    plan: Plan | None,
    costs: Mapping[str, LayerCost],
) -> PrecisionChoice:
    """What one file shows on the pairs held out, and its layers; the caller adds the hash."""
    pictures = _pictures(settled, reference)
    full = dict(zip(_names(reference), map(_bytes, reference.full_hw), strict=True))
    to_fp32 = summarize_fidelity({name: fidelity(pictures[name], full[name]) for name in full})
    taken = {} if plan is None else plan.taken
    layers = tuple(
        LayerChoice(
            name,
            tensor,
            MOVED_TO[precision] if name in settled.moved else "int8",
            costs[name].drop_db,
            costs[name].agreement_db,
        )
        for name, tensor in taken.items()
    )
    return PrecisionChoice(
        sha256=None,
        failures=tuple(settled.fidelity.failures(limits)),
        to_teacher=_to_teacher(reference, pictures),
        to_fp32=to_fp32,
        worst_pixel=_worst_pixel(pictures, full),
        moved=settled.moved,
        layers=layers,
        levels=() if plan is None else plan.levels,
    )


def write_pictures(
    model_dir: Path, precision: str, settled: Settled, reference: Reference, worst_pair: str
) -> PictureSet:
    """Writes the pair that a file changed most as PNG: sources, teacher, FP32, the file's, the difference."""
    index = _names(reference).index(worst_pair)
    example, full_hw = reference.examples[index], _bytes(reference.full_hw[index])
    fused_hw = _bytes(picture(open_bytes(settled.graph), example))
    shown: dict[str, Picture] = {
        "infrared": np.asarray(example.inputs[INFRARED][0, 0], np.uint8),
        "visible": np.asarray(example.inputs[VISIBLE][0, 0], np.uint8),
        TEACHER: _bytes(example.target_hw),
        "fp32": full_hw,
        precision: fused_hw,
        "difference": amplified_difference(fused_hw, full_hw),
    }
    files = {name: f"{PICTURES_FOLDER}/{precision}_{name}.png" for name in shown}
    for name, path in files.items():
        write_picture(model_dir / path, shown[name])
    why = f"the pair held out that {precision} changed most"
    return PictureSet(example.name, why, files, f"{precision} - fp32", DIFFERENCE_FACTOR)


def _to_teacher(reference: Reference, pictures: Mapping[str, Picture]) -> FidelitySummary:
    targets = {example.name: _bytes(example.target_hw) for example in reference.examples}
    return summarize_fidelity({name: fidelity(pictures[name], target) for name, target in targets.items()})


def _worst_pixel(pictures: Mapping[str, Picture], full: Mapping[str, Picture]) -> WorstPixel:
    differences = {name: np.abs(pictures[name].astype(np.int16) - full[name]) for name in full}
    pair = max(differences, key=lambda name: int(differences[name].max()))
    row, column = (int(place) for place in divmod(differences[pair].argmax(), differences[pair].shape[1]))
    return WorstPixel(pair, row, column, int(full[pair][row, column]), int(pictures[pair][row, column]))


def _pictures(settled: Settled, reference: Reference) -> dict[str, Picture]:
    session = open_bytes(settled.graph)
    return {example.name: _bytes(picture(session, example)) for example in reference.examples}


def _names(reference: Reference) -> list[str]:
    return [example.name for example in reference.examples]


def _bytes(picture_hw: NDArray[np.float32]) -> Picture:
    return np.clip(np.rint(picture_hw), 0, 255).astype(np.uint8)
