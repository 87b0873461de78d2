"""Reads and writes a student's weights: safetensors, with the student's shape in the header."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from irvis_runtime.atomic import replacing
from irvis_runtime.config import from_mapping
from irvis_runtime.contract import CONTEXT_SHAPE, checked_weights_path, load_manifest
from irvis_runtime.errors import ContractError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from .student import MULTIPLE_PX, Student, StudentShape

FORMAT = "irvis-student-1"


def save_student(student: Student, path: Path) -> None:
    """Writes the weights and the shape, atomically."""
    metadata = {"format": FORMAT, "shape": json.dumps(dataclasses.asdict(student.shape))}
    with replacing(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, temporary, metadata)


def load_student(model_dir: Path) -> Student:
    """Returns the student of a model directory, its weights checked against the manifest's hash."""
    return read_student(checked_weights_path(model_dir, load_manifest(model_dir)))


def read_student(path: Path) -> Student:
    """Returns the student in a weights file, in eval mode; ContractError if it is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ContractError(f"{path}: not a whole safetensors file ({error}); train or download it again") from error
    if metadata.get("format") != FORMAT:
        raise ContractError(f"{path}: expected format {FORMAT!r}, got {metadata.get('format')!r}; train it again")
    student = Student(from_mapping(StudentShape, json.loads(metadata["shape"]), f"{path}: shape"))
    try:
        student.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise ContractError(f"{path}: tensors do not fit the student ({' '.join(str(error).split())[:300]})") from error
    return student.eval()


class StudentAsTeacher(nn.Module):
    """A student that teaches: fuses whole pictures of any size from 16 up, in [0, 1]."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
        """Returns the fused luma, made with each picture's own thumbnails as context."""
        height, width = visible_n1hw.shape[-2:]
        pictures = torch.cat([infrared_n1hw, visible_n1hw], dim=1) * 255.0
        context = F.interpolate(pictures, size=CONTEXT_SHAPE[-2:], mode="area")
        padded = F.pad(pictures, (0, -width % MULTIPLE_PX, 0, -height % MULTIPLE_PX), mode="replicate")
        fused: Tensor = self.student(padded[:, :1], padded[:, 1:], context)
        return (fused[..., :height, :width] / 255.0).clamp(0.0, 1.0)
