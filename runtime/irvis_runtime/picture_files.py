"""The bytes of a picture file, checked to be whole before anything decodes them.

OpenCV's decoders may return what they could read of a cut file without an error; the rest is black or grey.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from .errors import ContractError
from .model_files.checked_files import read_file
from .tiff_files import TIFF_STARTS, whole_tiff

READABLE = "PNG, JPEG or TIFF"
MAX_BYTES = 1 << 30
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})

_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Markers that stand alone, without a length: TEM and the restart markers (ITU-T T.81, table B.1).
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True)
class PictureBytes:
    """What a decoder needs of a picture file."""

    content: bytes
    is_white_zero: bool = False
    """Whether the decoded numbers are to be inverted: zero stands for white (TIFF only)."""


def read_picture_bytes(path: Path) -> PictureBytes:
    """What a decoder needs of a PNG, JPEG or TIFF file, known by its first bytes and complete to its last.

    ContractError for a file that is missing, empty, cut or of another kind, whatever its name says, and for a
    PNG whose checksums tell of damage. JPEG and TIFF have none: bytes that were overwritten inside their
    coded pixels are not found here, and decoders mostly give what they make of them.
    """
    content = read_file(Path(path), f"a {READABLE} picture", MAX_BYTES)
    if not content:
        raise ContractError(f"{path}: expected a {READABLE} picture, got an empty file; copy it again")
    if content.startswith(_PNG_START):
        pixels = _png_pixels(content)
        whole = None if pixels is None else PictureBytes(pixels)
    elif content.startswith(_JPEG_START):
        whole = PictureBytes(content) if _jpeg_is_whole(content) else None
    elif content.startswith(TIFF_STARTS):
        tiff = whole_tiff(content)
        whole = None if tiff is None else PictureBytes(tiff.content, tiff.is_white_zero)
    else:
        raise ContractError(
            f"{path}: expected a {READABLE} picture, got a file that starts with {content[:8]!r}; "
            "convert it or name another file"
        )
    if whole is None:
        raise ContractError(f"{path}: expected a whole picture, got a cut or damaged file; copy it again")
    return whole


def pictures_in(folder: Path) -> list[Path]:
    """The folder's picture files, by name; hidden ones, as macOS's `._1.png` or one in writing, are none."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]


def _png_pixels(content: bytes) -> bytes | None:
    """The PNG without its ancillary chunks; None unless every chunk to IEND is there and intact.

    The ancillary ones change no pixel that is used here; libpng prints a line for each odd colour profile,
    and OpenCV 4.12 can crash on damaged animation chunks.
    """
    kept = [_PNG_START]
    at = len(_PNG_START)
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        end = at + 12 + length
        if end > len(content):
            return None
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if zlib.crc32(memoryview(content)[at + 4 : end - 4]) != checksum:
            return None
        if kind[:1].isupper():
            kept.append(content[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    return None


def _jpeg_is_whole(content: bytes) -> bool:
    """Whether the markers lead from the start through at least one scan to the end of the image."""
    at, has_scan = 2, False
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker == _END_OF_IMAGE:
            return has_scan
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            has_scan = True
            at = _end_of_scan(content, at)
    return has_scan and content[at : at + 2] == bytes([0xFF, _END_OF_IMAGE])


def _end_of_scan(content: bytes, at: int) -> int:
    """Where the marker after the coded pixels begins; stuffed zeros and restart markers are part of these."""
    while (at := content.find(b"\xff", at)) >= 0:
        following = content[at + 1 : at + 2]
        if following == b"\xff":
            at += 1
        elif following == b"\x00" or b"\xd0" <= following <= b"\xd7":
            at += 2
        else:
            return at
    return len(content)
