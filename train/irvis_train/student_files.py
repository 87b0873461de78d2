"""Reads and writes a student's weights: safetensors, with the student's shape in the header."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from irvis_runtime.config import from_mapping
from irvis_runtime.contract import checked_weights_path, load_manifest
from irvis_runtime.errors import ContractError

from .data import make_contexts
from .student import Student
from .student_shape import StudentShape
from .tensor_files import read_tensors, write_tensors

FORMAT = "irvis-student-3"


def save_student(student: Student, path: Path) -> None:
    """Writes weights and shape, atomically."""
    metadata = {"format": FORMAT, "shape": json.dumps(dataclasses.asdict(student.shape))}
    write_tensors(path, student.state_dict(), metadata)


def load_student(model_dir: Path) -> Student:
    """Returns the student of a model directory, its weights checked against the manifest's hash."""
    return read_student(checked_weights_path(model_dir, load_manifest(model_dir)))


def read_student(path: Path) -> Student:
    """Returns the student in a weights file, in eval mode; ContractError if it is not one."""
    tensors, metadata = read_tensors(path, "train or download it again")
    if metadata.get("format") != FORMAT:
        raise ContractError(
            f"{path}: expected format {FORMAT!r}, got {metadata.get('format')!r}; train it again"
        )
    student = Student(_shape(metadata, path))
    try:
        student.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ContractError(f"{path}: tensors do not fit the student ({reason}); train it again") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ContractError(f"{path}: {name} holds NaN or infinity; train it again")
    return student.eval()


def _shape(metadata: Mapping[str, str], path: Path) -> StudentShape:
    try:
        members = json.loads(metadata.get("shape", ""))
    except ValueError as error:
        raise ContractError(f"{path}: shape in the header is not JSON ({error}); train it again") from error
    if not isinstance(members, dict):
        raise ContractError(
            f"{path}: shape in the header: expected an object, got {members!r}; train it again"
        )
    return from_mapping(StudentShape, members, f"{path}: shape")


class StudentAsTeacher(nn.Module):
    """A student that teaches: fuses whole pictures of any size from 16 up, in [0, 1]."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, infrared_n1hw: Tensor, visible_n1hw: Tensor) -> Tensor:
        """Returns the fused luma, made with each picture's own thumbnails as context."""
        height, width = visible_n1hw.shape[-2:]
        context = make_contexts(infrared_n1hw, visible_n1hw)
        pictures = torch.cat([infrared_n1hw, visible_n1hw], dim=1) * 255.0
        multiple = self.student.shape.multiple_px
        padded = F.pad(pictures, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        fused: Tensor = self.student(padded[:, :1], padded[:, 1:], context)
        return (fused[..., :height, :width] / 255.0).clamp(0.0, 1.0)
