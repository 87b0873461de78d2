"""Loads teachers: published checkpoints, their safetensors form, or a model directory's student."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from irvis_runtime.contract import MANIFEST_NAME
from irvis_runtime.errors import ContractError

from .ldfusion import LdFusion, LdFusionShape
from .student_files import StudentAsTeacher, load_student
from .tensor_files import read_tensors, write_tensors

FORMAT = "irvis-teacher-1"
SUFFIX = ".safetensors"
FIRST_TENSOR = "encoder.content_encoder1.model.1.weight"
MAX_WIDTH = 256
"""Of a checkpoint's first convolution; a damaged file must not claim all memory."""
EXPECTED = (
    "expected a teacher: LD-Lite's final.pt, a folder with LDFusion's Enc_*.pt and Dec_*.pt, "
    "a teacher .safetensors written by `irvis train convert`, or a model directory with manifest.json"
)


def load_teacher(path: str | Path) -> nn.Module:
    """Returns a frozen teacher in eval mode: teacher(infrared_n1hw, visible_n1hw) -> fused_n1hw, in [0, 1].

    `path` is a published checkpoint (one .pt, or the folder that holds Enc_*.pt and Dec_*.pt), a converted
    .safetensors, or a model directory, whose student then teaches. Pickles are read with weights_only=True.
    ContractError for anything else, and for tensors that do not fit the topology.
    """
    path = Path(path)
    if not path.exists():
        raise ContractError(f"{path}: does not exist; {EXPECTED}")
    teacher: nn.Module
    if (path / MANIFEST_NAME).is_file():
        teacher = StudentAsTeacher(load_student(path))
    elif path.suffix == SUFFIX:
        teacher = _load_converted(path)
    else:
        teacher = _assemble(_read_published(path), path)
    return teacher.eval().requires_grad_(False)


def convert_teacher(checkpoint: Path, output: Path) -> None:
    """Writes a published checkpoint as safetensors, with its shape in the header."""
    if output.suffix != SUFFIX:
        raise ContractError(f"{output}: expected a name that ends in {SUFFIX}, by which a teacher is known")
    teacher = load_teacher(checkpoint)
    if not isinstance(teacher, LdFusion):
        raise ContractError(f"{checkpoint}: is a student's model directory; {EXPECTED}")
    shape = {"width": teacher.shape.width, "style": teacher.shape.style}
    metadata = {"format": FORMAT, "shape": json.dumps(shape), "source": checkpoint.name}
    write_tensors(output, teacher.state_dict(), metadata)


def _load_converted(path: Path) -> LdFusion:
    tensors, metadata = read_tensors(path, "convert the checkpoint again")
    if metadata.get("format") != FORMAT:
        raise ContractError(f"{path}: expected format {FORMAT!r}, got {metadata.get('format')!r}; {EXPECTED}")
    return _assemble(tensors, path)


def _read_published(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a one-file or two-file checkpoint under the names encoder.* and decoder.*."""
    if path.is_file():
        return _read_pickle(path)
    tensors: dict[str, Tensor] = {}
    for prefix, pattern in (("encoder.", "Enc_*.pt"), ("decoder.", "Dec_*.pt")):
        found = sorted(path.glob(pattern))
        if len(found) != 1:
            raise ContractError(f"{path}: expected one {pattern}, got {len(found)}; {EXPECTED}")
        tensors |= {prefix + name: tensor for name, tensor in _read_pickle(found[0]).items()}
    return tensors


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged bytes were seen to raise eleven kinds, AssertionError and struct.error among them.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ContractError(f"{path}: not a whole PyTorch weights file ({reason}); {EXPECTED}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ContractError(f"{path}: expected a dictionary of tensors, got something else; {EXPECTED}")
    # DistributedDataParallel, with which the published teachers were trained, puts `module.` before a name.
    return {str(name).removeprefix("module."): tensor.float() for name, tensor in tensors.items()}


def _assemble(tensors: dict[str, Tensor], path: Path) -> LdFusion:
    first = tensors.get(FIRST_TENSOR)
    if first is None:
        raise ContractError(f"{path}: has no tensor {FIRST_TENSOR}; {EXPECTED}")
    if first.shape[1:] != (1, 7, 7) or not 1 <= first.shape[0] <= MAX_WIDTH:
        raise ContractError(f"{path}: {FIRST_TENSOR} has the shape {tuple(first.shape)}; {EXPECTED}")
    style = any(name.startswith("encoder.style_encoder1.") for name in tensors)
    teacher = LdFusion(LdFusionShape(width=int(first.shape[0]), style=style))
    try:
        teacher.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ContractError(
            f"{path}: the tensors do not fit the published topology ({reason}); {EXPECTED}"
        ) from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ContractError(f"{path}: {name} holds NaN or infinity; get the checkpoint again")
    return teacher
