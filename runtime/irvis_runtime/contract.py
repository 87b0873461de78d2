"""The contract between the stages: ports, manifest, and the checks before a model is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from .atomic import write_text
from .errors import ContractError
from .model_files.checked_files import read_file, sha256_of
from .model_files.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    ONNX_RUNTIME_PRECISION,
    PRECISIONS,
    SCHEMA,
    Manifest,
    ModelFile,
    WeightFile,
    manifest_from_json,
    manifest_to_json,
)
from .model_files.onnx_file import check_onnx
from .model_files.ports import (
    CONTEXT,
    CONTEXT_SHAPE,
    FUSED,
    INFRARED,
    INPUT_PORTS,
    LUMA,
    MIN_SIDE_PX,
    OUTPUT_PORTS,
    VISIBLE,
    Port,
    padded_size,
)
from .model_files.safetensors_file import check_safetensors
from .strict_json import shown

__all__ = [
    "CONTEXT",
    "CONTEXT_SHAPE",
    "FUSED",
    "INFRARED",
    "INPUT_PORTS",
    "LUMA",
    "MANIFEST_NAME",
    "MIN_SIDE_PX",
    "ONNX_RUNTIME_PRECISION",
    "OUTPUT_PORTS",
    "PRECISIONS",
    "SCHEMA",
    "VISIBLE",
    "Manifest",
    "ModelFile",
    "Port",
    "WeightFile",
    "checked_model_path",
    "checked_weights_path",
    "load_manifest",
    "manifest_from_json",
    "manifest_to_json",
    "padded_size",
    "save_manifest",
    "sha256_of",
]


def load_manifest(model_dir: Path) -> Manifest:
    """Returns the manifest of a model directory; ContractError where it is missing, unreadable or wrong."""
    path = Path(model_dir) / MANIFEST_NAME
    # os.path answers where pathlib raises, as below a folder that may not be entered.
    if not os.path.isdir(model_dir):
        found = "a file" if os.path.exists(model_dir) else "nothing"
        raise ContractError(
            f"{model_dir}: expected a model directory, found {found}; "
            f"name the folder that holds {MANIFEST_NAME}"
        )
    content = read_file(path, "the manifest of a model directory", MAX_MANIFEST_BYTES)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ContractError(
            f"{path}: expected UTF-8, got other bytes ({error}); copy the model again"
        ) from error
    return manifest_from_json(text, str(path))


def save_manifest(model_dir: Path, manifest: Manifest) -> None:
    """Writes the manifest into the model directory, whole or not at all."""
    write_text(Path(model_dir) / MANIFEST_NAME, manifest_to_json(manifest))


def checked_model_path(model_dir: Path, manifest: Manifest, precision: str) -> Path:
    """Returns the ONNX file of a precision after its hash, ports, opset and operators were found right.

    ContractError, before any backend sees the file, where the precision is unknown or absent or a check
    fails.
    """
    if precision not in PRECISIONS:
        raise ContractError(
            f"precision: expected one of {', '.join(PRECISIONS)}, got {shown(precision)}; choose one of these"
        )
    if precision not in manifest.files:
        held = ", ".join(manifest.files) or "none yet"
        command = "export" if precision == "fp32" else "quantize"
        raise ContractError(
            f"{model_dir}: expected a file of precision {precision}, got a model that holds {held}; "
            f"choose another precision or run `irvis {command}`"
        )
    file = manifest.files[precision]
    path = _checked_path(model_dir, file.path, file.sha256)
    check_onnx(
        path, INPUT_PORTS, OUTPUT_PORTS, file.opset, for_onnxruntime=precision == ONNX_RUNTIME_PRECISION
    )
    return path


def checked_weights_path(model_dir: Path, manifest: Manifest) -> Path:
    """Returns the weights file after its hash and its safetensors header were found right."""
    if manifest.weights is None:
        raise ContractError(
            f"{model_dir}: expected trained weights, got a model without; train it again or name another"
        )
    path = _checked_path(model_dir, manifest.weights.path, manifest.weights.sha256)
    check_safetensors(path)
    return path


def _checked_path(model_dir: Path, name: str, sha256: str) -> Path:
    """Returns the file of that name in the model directory if its hash is the manifest's."""
    if name in ("", ".", "..") or Path(name).name != name or "\\" in name:
        raise ContractError(
            f"{model_dir}: expected a plain file name, got {shown(name)}; correct {MANIFEST_NAME}"
        )
    path = Path(model_dir) / name
    found = sha256_of(path)
    if found != sha256:
        raise ContractError(
            f"{path}: expected SHA-256 {sha256}, got {found} (changed or cut); "
            "copy the model again or make it again"
        )
    return path
