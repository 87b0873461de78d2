"""A shared library as it lies in memory, for libraries that need no loader."""

from __future__ import annotations

import struct
from pathlib import Path

LOAD, DYNAMIC = 1, 2
HASH, STRTAB, SYMTAB = 4, 5, 6
NEEDS_LOADER = {1: "NEEDED", 7: "RELA", 12: "INIT", 17: "REL", 23: "JMPREL", 25: "INIT_ARRAY", 36: "RELR"}
"""Entries of the dynamic section (System V ABI, chapter 5) that only a dynamic loader can serve."""


def memory_image(path: Path) -> tuple[bytes, dict[str, int]]:
    """Returns the segments at their places, and where each function begins.

    ValueError where the library needs more than being copied.
    """
    file = path.read_bytes()
    (program_headers,) = struct.unpack_from("<Q", file, 32)
    (count,) = struct.unpack_from("<H", file, 56)
    image, dynamic = bytearray(), 0
    for index in range(count):
        fields = struct.unpack_from("<IIQQQQQQ", file, program_headers + 56 * index)
        kind, _, offset, place, _, file_bytes, memory_bytes, _ = fields
        if kind == DYNAMIC:
            dynamic = place
        if kind == LOAD:
            image.extend(bytes(max(0, place + memory_bytes - len(image))))
            image[place : place + file_bytes] = file[offset : offset + file_bytes]
    entries: dict[int, int] = {}
    while (entry := struct.unpack_from("<QQ", image, dynamic))[0]:
        entries[entry[0]] = entry[1]
        dynamic += 16
    if needs := [name for tag, name in NEEDS_LOADER.items() if tag in entries]:
        raise ValueError(f"{path.name} has {', '.join(needs)}, for which a dynamic loader is needed")
    (symbols,) = struct.unpack_from("<I", image, entries[HASH] + 4)
    functions = {}
    for index in range(1, symbols):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", image, entries[SYMTAB] + 24 * index)
        start = entries[STRTAB] + name
        text = image[start : image.index(0, start)].decode()
        if not section:
            raise ValueError(f"{path.name} wants {text} from another library")
        functions[text] = value
    return bytes(image), functions
