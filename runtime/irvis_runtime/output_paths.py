"""What a command is to write, checked before any work begins."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import ContractError


def check_replaceable(path: Path) -> None:
    """ContractError for a folder, which no file can replace, and for a device, which none must replace."""
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "device or pipe"
        raise ContractError(f"{path}: expected a file to write, it is a {kind}; name another")


def check_writable_folder(folder: Path) -> None:
    """ContractError where nothing can be written into the folder or it cannot be made; leaves nothing."""
    place = folder.resolve()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        # The permissions alone do not tell: of root, of file systems mounted read-only, of /proc.
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ContractError(
            f"cannot write into {folder}: {error.strerror or error}; "
            "name an output in a writable folder with free space"
        ) from error


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file or folder, links followed, or would be."""
    if one.exists() and other.exists():
        return os.path.samefile(one, other)
    return one.resolve() == other.resolve()
