"""TIFF 6.0 files: whether the first picture is whole, and its pixels as stored, whatever its tags ask for."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_PHOTOMETRIC, _ORIENTATION, _SAMPLES_PER_PIXEL = 262, 274, 277
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_FIRST_ROW_ON_TOP = 1
_SHORT = 3
# Where the pixels lie and how many bytes they take: strips, tiles.
_PIXELS = ((273, 279), (324, 325))
# By the number of the type, BYTE (1) to LONG8 and IFD8 (16 to 18); 0 for numbers that mean nothing.
_BYTES_OF_TYPE = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8)
_UNSIGNED = {3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class _Layout:
    """How a directory is written: classic TIFF or BigTIFF, little or big endian."""

    order: str
    is_big: bool

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "I"))

    @property
    def entry_count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.is_big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, number of values; then the values themselves or their offset."""
        return struct.Struct(self.order + ("HHQ8x" if self.is_big else "HHI4x"))

    @property
    def header_size(self) -> int:
        return 8 if self.is_big else 4

    def short(self, tag: int, value: int) -> bytes:
        """The entry of a tag with one SHORT."""
        return struct.pack(self.order + ("HHQH6x" if self.is_big else "HHIH2x"), tag, _SHORT, 1, value)


@dataclass(frozen=True)
class WholeTiff:
    """A TIFF whose first picture is whole, as libtiff gives its pixels as they are stored."""

    content: bytes
    is_white_zero: bool
    """Whether its numbers are to be inverted: zero is white in the file, and black in `content`."""


def whole_tiff(content: bytes) -> WholeTiff | None:
    """The file with tags that leave the pixels alone, or None where its first picture is cut.

    Decoders turn a picture by its Orientation, which would take it off its sensor's grid; the tag is set to
    "first row on top". PhotometricInterpretation of a picture of one sample per pixel is set to "black is
    zero": libtiff refuses a picture without it, as radiometric ones from some drones are, and OpenCV inverts
    "white is zero" in 8 bits only.
    """
    layout = _Layout("<" if content.startswith(b"II") else ">", is_big=b"+" in content[2:4])
    try:
        (directory_at,) = layout.offset.unpack_from(content, layout.header_size)
        fields = _read_fields(content, layout, directory_at)
    except (struct.error, OverflowError):  # an offset beyond 2^63 overflows
        return None
    if not all(_pixels_are_there(fields, where, sizes, len(content)) for where, sizes in _PIXELS):
        return None
    tags = {}
    if fields.get(_ORIENTATION, (_FIRST_ROW_ON_TOP,)) != (_FIRST_ROW_ON_TOP,):
        tags[_ORIENTATION] = _FIRST_ROW_ON_TOP
    is_grey = fields.get(_SAMPLES_PER_PIXEL, (1,)) == (1,)
    is_white_zero = is_grey and fields.get(_PHOTOMETRIC) == (_WHITE_IS_ZERO,)
    if is_white_zero or (is_grey and _PHOTOMETRIC not in fields):
        tags[_PHOTOMETRIC] = _BLACK_IS_ZERO
    return WholeTiff(_with_tags(content, layout, directory_at, tags) if tags else content, is_white_zero)


def _read_fields(content: bytes, layout: _Layout, directory_at: int) -> dict[int, tuple[int, ...]]:
    """Tag -> values, empty if they are no unsigned integers; struct.error where one lies outside the file."""
    (count,) = layout.entry_count.unpack_from(content, directory_at)
    fields: dict[int, tuple[int, ...]] = {}
    for number in range(count):
        entry_at = directory_at + layout.entry_count.size + number * layout.entry.size
        tag, kind, length = layout.entry.unpack_from(content, entry_at)
        size = _BYTES_OF_TYPE[kind] * length if kind < len(_BYTES_OF_TYPE) else 0
        values_at = entry_at + layout.entry.size - layout.offset.size
        if size > layout.offset.size:
            (values_at,) = layout.offset.unpack_from(content, values_at)
        if values_at + size > len(content):
            raise struct.error(f"tag {tag} lies outside the file")
        code = _UNSIGNED.get(kind)
        fields[tag] = struct.unpack_from(f"{layout.order}{length}{code}", content, values_at) if code else ()
    return fields


def _pixels_are_there(fields: dict[int, tuple[int, ...]], where: int, sizes: int, file_size: int) -> bool:
    offsets, lengths = fields.get(where, ()), fields.get(sizes, ())
    ends = [offset + length for offset, length in zip_longest(offsets, lengths, fillvalue=0)]
    return max(ends, default=0) <= file_size


def _with_tags(content: bytes, layout: _Layout, directory_at: int, tags: Mapping[int, int]) -> bytes:
    """The TIFF with a second directory at its end that the header points to: the first one with `tags`."""
    (count,) = layout.entry_count.unpack_from(content, directory_at)
    first, size = directory_at + layout.entry_count.size, layout.entry.size
    entries = [content[at : at + size] for at in range(first, first + count * size, size)]
    entries = [entry for entry in entries if layout.entry.unpack(entry)[0] not in tags]
    entries += [layout.short(tag, value) for tag, value in tags.items()]
    entries.sort(key=lambda entry: int(layout.entry.unpack(entry)[0]))
    padding = b"\0" * (len(content) % 2)
    directory = layout.entry_count.pack(len(entries)) + b"".join(entries) + layout.offset.pack(0)
    header = content[: layout.header_size] + layout.offset.pack(len(content) + len(padding))
    return header + content[len(header) :] + padding + directory
