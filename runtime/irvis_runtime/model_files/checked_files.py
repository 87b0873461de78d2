"""Opens, reads and hashes files whose failures are told in one line."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from irvis_runtime.errors import ContractError

_BLOCK_BYTES = 1 << 20


@contextmanager
def open_file(path: Path, expected: str) -> Iterator[BinaryIO]:
    """Yields a regular file open for reading; `expected` says in errors what the file should be.

    ContractError where it is missing, a folder, a pipe or a device, or cannot be read, also while it is read.
    """
    try:
        _check_regular(path, expected)
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise ContractError(f"{path}: expected {expected}, found no such file; check the path") from error
    except OSError as error:
        raise ContractError(
            f"{path}: expected {expected}, cannot read it ({error.strerror or error}); check its permissions"
        ) from error


def _check_regular(path: Path, expected: str) -> None:
    # Opening a pipe that nobody writes to would wait for ever, so the kind is asked first.
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise ContractError(
            f"{str(path)!r}: expected {expected}, got no path ({error}); correct it"
        ) from error
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise ContractError(f"{path}: expected {expected}, got {kind}; check the path")


def read_file(path: Path, expected: str, limit_bytes: int) -> bytes:
    """Returns the whole content of a regular file; ContractError where it is longer than `limit_bytes`."""
    with open_file(path, expected) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > limit_bytes:
            raise ContractError(
                f"{path}: expected {expected} of at most {limit_bytes >> 20} MiB, "
                f"got {size_bytes / (1 << 20):.0f} MiB; check the path"
            )
        return file.read(limit_bytes)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits, in constant memory."""
    digest = hashlib.sha256()
    with open_file(Path(path), "a file to hash") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
