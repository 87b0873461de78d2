"""Reads and writes safetensors files: whole or not at all, with one-line errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from irvis_runtime.atomic import write_bytes
from irvis_runtime.errors import ContractError

LENGTH_BYTES = 8
"""Before the header, little-endian; the tensors behind it begin at a multiple of as many bytes."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and metadata; equal ones give equal bytes, hence one hash.

    ContractError where the disk is full or the folder cannot be written.
    """
    # Serialised in memory: the library's own file writer reports a full disk as no OSError.
    content = save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, dict(metadata))
    write_bytes(path, _with_sorted_metadata(content))


def read_tensors(path: Path, advice: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns a file's tensors and metadata; ContractError, ending with `advice`, where it is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ContractError(f"{path}: not a whole safetensors file ({error}); {advice}") from error


def _with_sorted_metadata(content: bytes) -> bytes:
    """The library writes metadata in an order that changes from call to call (seen in safetensors 0.8)."""
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:end])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + content[end:]
