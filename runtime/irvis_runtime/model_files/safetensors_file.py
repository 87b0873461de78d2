"""Checks the header of a safetensors file without its library."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from irvis_runtime.errors import ContractError
from irvis_runtime.strict_json import JsonValue, parse, shown

from .checked_files import open_file

# The format's own limit, https://github.com/huggingface/safetensors (MAX_HEADER_SIZE).
_MAX_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8
_MAX_DIMENSIONS = 16
_ADVICE = "copy it again or train it again"
_ANY_TEXT = re.compile(r".*", re.DOTALL)
_ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


def check_safetensors(path: Path) -> None:
    """Raises ContractError unless the header is whole and its tensors fill the file without a gap."""
    header, data_bytes = _read_header(path)
    end_byte = 0
    for entry, begin, end in sorted(_extents(header), key=lambda extent: extent[1:]):
        if begin != end_byte:
            raise entry.child("data_offsets", [begin, end]).error(f"a tensor that begins at byte {end_byte}")
        end_byte = end
    if end_byte != data_bytes:
        raise ContractError(f"{path}: expected {end_byte} bytes of tensors, got {data_bytes}; {_ADVICE}")


def _read_header(path: Path) -> tuple[JsonValue, int]:
    """Returns the header and how many bytes follow it."""
    with open_file(path, "a safetensors file") as file:
        file_bytes = os.fstat(file.fileno()).st_size
        header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        data_bytes = file_bytes - _LENGTH_BYTES - header_bytes
        if data_bytes < 0 or header_bytes > _MAX_HEADER_BYTES:
            raise ContractError(
                f"{path}: expected a safetensors header within the file, got one of {header_bytes} bytes "
                f"in a file of {file_bytes}; {_ADVICE}"
            )
        content = file.read(header_bytes)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ContractError(
            f"{path}: expected a header in UTF-8, got other bytes ({error}); {_ADVICE}"
        ) from error
    return parse(text, str(path), _ADVICE), data_bytes


def _extents(header: JsonValue) -> list[tuple[JsonValue, int, int]]:
    """Returns each tensor's entry with its first byte and the one after its last."""
    extents = []
    for name, entry in header.mapping().items():
        if name == "__metadata__":
            for member in entry.mapping().values():
                member.text(_ANY_TEXT, "a string")
            continue
        begin, end = _extent(entry)
        extents.append((entry, begin, end))
    return extents


def _extent(entry: JsonValue) -> tuple[int, int]:
    members = entry.members(("dtype", "shape", "data_offsets"))
    dtype, offsets = members["dtype"], members["data_offsets"]
    if not isinstance(dtype.value, str) or dtype.value not in _ITEM_BYTES:
        raise dtype.error(f"one of {', '.join(_ITEM_BYTES)}")
    sizes = [size.integer(0, 1 << 40) for size in members["shape"].elements()]
    if len(sizes) > _MAX_DIMENSIONS:
        raise members["shape"].error(f"at most {_MAX_DIMENSIONS} sizes")
    limits = [offset.integer(0, 1 << 48) for offset in offsets.elements()]
    tensor_bytes = math.prod(sizes) * _ITEM_BYTES[dtype.value]
    if len(limits) != 2 or limits[1] - limits[0] != tensor_bytes:
        raise offsets.error(f"two offsets {tensor_bytes} bytes apart, as {dtype.value} {shown(sizes)} needs")
    return limits[0], limits[1]
