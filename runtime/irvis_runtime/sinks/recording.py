"""A recording's name on the disk: `name.mkv.part` while it grows, `name.mkv` once it is closed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from irvis_runtime.errors import BackendError, ContractError


class Recording:
    """Gives a recording its name and never destroys one.

    An existing `name.mkv` is refused unless `overwrite`. What a killed run left as `.part` (playable up to
    its end) and every further piece of one run (the picture changed its size, the disk was full for a while)
    get the next free name: name-1.mkv, name-2.mkv, ...
    """

    def __init__(self, path: Path, overwrite: bool, report: Callable[[str], None]) -> None:
        self.path, self._overwrite, self._report = path, overwrite, report
        self.part = path.with_name(f"{path.name}.part")
        self._lock: int | None = None
        self._is_first = True

    def check(self) -> None:
        """ContractError where the recording could not be written or would replace another."""
        if self.path.suffix != ".mkv":
            raise ContractError(
                f"file://{self.path}: expected a name that ends in .mkv; recordings are Matroska"
            )
        if self.path.exists() and not self._overwrite:
            raise ContractError(
                f"file://{self.path}: exists; move it, name another, or set overwrite = true in [[output]]"
            )
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ContractError(
                f"file://{self.path}: cannot make its folder ({error.strerror}); name another"
            ) from error
        if self.path.is_dir() or not os.access(folder, os.W_OK):
            raise ContractError(
                f"file://{self.path}: cannot be written; name a file in a folder that is writable"
            )

    def open(self) -> Path:
        """Returns the `.part` to write, locked; what an earlier run left there is put aside first."""
        try:
            self._set_aside()
            lock = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise BackendError(
                f"file://{self.path}: {error.strerror}; free some space or name another output"
            ) from error
        self._lock = lock
        if not _is_locked_now(lock):
            self.release()
            raise BackendError(
                f"file://{self.path}: is being written by another process; name another output"
            )
        return self.part

    def close(self) -> Path:
        """Gives the finished recording its name and returns it."""
        try:
            if self._is_first and (self._overwrite or not self.path.exists()):
                final = self.path
            else:
                final = free_name(self.path)
            self._is_first = False
            self.part.replace(final)
        except OSError as error:
            raise BackendError(
                f"file://{self.path}: {error.strerror}; the recording is left in {self.part}"
            ) from error
        finally:
            self.release()
        return final

    def release(self) -> None:
        """Gives up the lock; the `.part` stays as it is."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _set_aside(self) -> None:
        """Renames the `.part` of a run that was killed; removes it where it holds nothing."""
        try:
            handle = os.open(self.part, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if not _is_locked_now(handle):
                raise BackendError(
                    f"file://{self.path}: is being written by another process; name another output"
                )
            if os.fstat(handle).st_size == 0:
                self.part.unlink()
                return
            kept = free_name(self.path)
            self.part.rename(kept)
            self._report(f"an unfinished recording was kept as {kept}")
        finally:
            os.close(handle)


def free_name(path: Path) -> Path:
    """Returns the first of name-1, name-2, ... that does not exist."""
    number = 1
    while (candidate := path.with_name(f"{path.stem}-{number}{path.suffix}")).exists():
        number += 1
    return candidate


def _is_locked_now(handle: int) -> bool:
    """Takes the lock of an open file; False where another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
