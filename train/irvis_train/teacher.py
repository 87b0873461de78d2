"""Loads teachers: published checkpoints, their safetensors form, or a model directory whose student teaches."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import torch
from irvis_runtime.atomic import replacing
from irvis_runtime.contract import MANIFEST_NAME
from irvis_runtime.errors import ContractError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .ldfusion import LdFusion, LdFusionShape
from .student_files import StudentAsTeacher, load_student

FORMAT = "irvis-teacher-1"
EXPECTED = (
    "expected a teacher: LD-Lite's final.pt, a folder with LDFusion's Enc_*.pt and Dec_*.pt, a teacher .safetensors "
    "written by `irvis train convert`, or a model directory with manifest.json"
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
    if path.is_dir() and (path / MANIFEST_NAME).exists():
        teacher = StudentAsTeacher(load_student(path))
    elif path.suffix == ".safetensors":
        teacher = _load_converted(path)
    else:
        teacher = _assemble(_read_published(path), path)
    return teacher.eval().requires_grad_(False)


def convert_teacher(checkpoint: Path, output: Path) -> None:
    """Writes a published checkpoint as safetensors, with its shape in the header."""
    teacher = load_teacher(checkpoint)
    if not isinstance(teacher, LdFusion):
        raise ContractError(f"{checkpoint}: is a student's model directory, not a published checkpoint; {EXPECTED}")
    shape = {"width": teacher.shape.width, "style": teacher.shape.style}
    metadata = {"format": FORMAT, "shape": json.dumps(shape), "source": checkpoint.name}
    with replacing(output) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in teacher.state_dict().items()}, temporary, metadata)


def _load_converted(path: Path) -> LdFusion:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ContractError(f"{path}: not a whole safetensors file ({error}); convert the checkpoint again") from error
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
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ContractError(f"{path}: not a whole PyTorch weights file ({reason}); {EXPECTED}") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ContractError(f"{path}: expected a dictionary of tensors, got something else; {EXPECTED}")
    # DistributedDataParallel, with which the published teachers were trained, puts `module.` before every name.
    return {str(name).removeprefix("module."): tensor.float() for name, tensor in tensors.items()}


def _assemble(tensors: dict[str, Tensor], path: Path) -> LdFusion:
    first = tensors.get("encoder.content_encoder1.model.1.weight")
    if first is None:
        raise ContractError(f"{path}: has no tensor encoder.content_encoder1.model.1.weight; {EXPECTED}")
    style = any(name.startswith("encoder.style_encoder1.") for name in tensors)
    teacher = LdFusion(LdFusionShape(width=int(first.shape[0]), style=style))
    try:
        teacher.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ContractError(f"{path}: the tensors do not fit the published topology ({reason}); {EXPECTED}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ContractError(f"{path}: {name} holds NaN or infinity; get the checkpoint again")
    return teacher
