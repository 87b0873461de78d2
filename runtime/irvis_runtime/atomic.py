"""Files appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import ContractError


@contextmanager
def replacing(path: Path, like: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path beside `path`, of the same suffix; renames it on success, else removes it.

    The rename is atomic within a file system: a reader sees the old file or the new one, never half of one.
    Missing parent folders are made. The file has owner, group and mode of `like`, else of the one that it
    replaces, as far as this process may give them; a new one has what the umask leaves. ContractError where
    the folder cannot be written, and where `path` is a folder or a device, which a rename would replace.
    """
    # Through a symbolic link the file that it names is replaced, not the link.
    path = Path(os.path.realpath(path))
    if os.path.exists(path) and not os.path.isfile(path):
        kind = "a folder" if os.path.isdir(path) else "a pipe or a device"
        raise ContractError(f"cannot write {path}: expected a file's name, got {kind}; name another output")
    temporary = path.with_name(f".{path.stem}.{secrets.token_urlsafe(6)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # By the kernel it gets the mode that the umask leaves: asking for the umask would set it for an
        # instant, in all threads.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        wanted = _status(like or path)
        if wanted is not None:
            with suppress(PermissionError):
                os.chown(temporary, wanted.st_uid, wanted.st_gid)
            # Nobody reads it meanwhile who may not read it then; its owner writes it, be it read-only then.
            temporary.chmod(stat.S_IMODE(wanted.st_mode) | stat.S_IWUSR | stat.S_IRUSR)
    except OSError as error:
        raise ContractError(
            f"cannot write {path}: {error.strerror}; name an output in a writable folder with free space"
        ) from error
    try:
        yield temporary
        _flush(temporary)
        if wanted is not None:
            temporary.chmod(stat.S_IMODE(wanted.st_mode))
        temporary.replace(path)
    except OSError as error:
        if error.filename not in (None, str(temporary), temporary):
            # Another file's failure, inside the caller's block.
            raise
        raise ContractError(
            f"cannot write {path}: {error.strerror or error}; free some space or name another output"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes `content` to `path` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _flush(path: Path) -> None:
    """Pushes the file to the disk, so that a power cut after the rename does not leave an empty one."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
