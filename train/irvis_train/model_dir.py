"""Starts a model directory: the student's weights and a manifest that says how they were made."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch

from irvis_runtime.config import to_mapping
from irvis_runtime.contract import Manifest, WeightFile, save_manifest, sha256_of

from .config import DistillConfig
from .provenance import versions
from .student import Student
from .student_files import save_student

OF_THE_MACHINE = ("cache", "threads", "device")
"""Fields of the configuration that say nothing of the weights."""
WEIGHTS_NAME = "student.safetensors"


def write_model_dir(
    folder: Path,
    student: Student,
    config: DistillConfig,
    pair_names: Sequence[str],
    started_at: str,
    result: Mapping[str, float],
) -> Path:
    """Writes weights and manifest and returns the folder; `irvis export` and `irvis quantize` extend it.

    `started_at`: the commit of the code when the run, or its last sitting, began.
    """
    save_student(student, folder / WEIGHTS_NAME)
    counts: dict[str, int] = {}
    for name in pair_names:
        part = name.split("/", 1)[0] if "/" in name else "."
        counts[part] = counts.get(part, 0) + 1
    provenance = {
        "teacher": config.teacher,
        "trained_on_pairs": counts,
        "config": {key: value for key, value in to_mapping(config).items() if key not in OF_THE_MACHINE},
        "seconds": round(result["seconds"]),
        "commit": started_at,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": versions(),
    }
    fidelity = {name: round(value, 4) for name, value in result.items() if name != "seconds"}
    manifest = Manifest(
        name=config.name,
        files={},
        multiple=student.shape.multiple_px,
        provenance=provenance,
        measured={"validation": fidelity},
        weights=WeightFile(WEIGHTS_NAME, sha256_of(folder / WEIGHTS_NAME)),
    )
    save_manifest(folder, manifest)
    return folder
