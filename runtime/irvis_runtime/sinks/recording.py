"""A recording's names on the disk: `name.mkv.part` while a piece grows, `name.mkv` once it is closed."""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from irvis_runtime.errors import BackendError, ContractError

from .retention import Retention

CHECK_S = 1.0
"""How often the disk's room is looked at, and what was recorded is pushed onto the disk."""


@dataclass(frozen=True)
class Rotation:
    """When a recording goes on in a new piece, and which old ones stay; 0: never, all, none."""

    seconds: float = 0.0
    mib: int = 0
    keep_pieces: int = 0
    keep_free_mib: int = 0


class Recording:
    """Gives a recording its name and never destroys one that `rotation` does not give up.

    An existing `name.mkv` is refused unless `overwrite`. What a killed run left as `.part` (playable up to
    its end) and every further piece of one run (rotation, another size of the picture, a full disk) get the
    next free number: name-1.mkv, name-2.mkv, ... `template`: the name with `{time}` in it, where it has that.
    """

    def __init__(
        self,
        path: Path,
        overwrite: bool,
        report: Callable[[str], None],
        rotation: Rotation | None = None,
        template: Path | None = None,
    ) -> None:
        self.path, self._overwrite, self._report = path, overwrite, report
        self.part = path.with_name(f"{path.name}.part")
        self._rotation = rotation or Rotation()
        self._retention = Retention(
            template or path, self._rotation.keep_pieces, self._rotation.keep_free_mib, report
        )
        self._is_first = True

    def check(self) -> None:
        """ContractError where the recording could not be written or would replace another."""
        if self.path.exists() and not self._overwrite:
            raise ContractError(
                f"file://{self.path}: exists; move it, name another, or set overwrite = true in [[output]]"
            )
        check_folder(self.path)

    def open(self) -> Piece:
        """Begins a piece: its `.part`, locked; what an earlier run left there is put aside first."""
        try:
            self._set_aside()
            self._retention.make_room()
            lock = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                if not _is_locked_now(lock):
                    raise BackendError(
                        f"file://{self.path}: is being written by another process; name another output"
                    )
                return Piece(self, lock)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise BackendError(
                f"file://{self.path}: {error.strerror}; free some space or name another output"
            ) from error

    def is_long(self, elapsed_s: float, size_bytes: int) -> bool:
        """Whether a piece of this length and size is to be closed."""
        rotation = self._rotation
        return 0 < rotation.seconds <= elapsed_s or 0 < rotation.mib * 2**20 <= size_bytes

    def find_room(self) -> bool:
        """Whether there is the room to keep; deletes old pieces for it."""
        return self._retention.find_room()

    def give_name(self) -> Path:
        """Gives the finished piece its name and returns it."""
        try:
            if self._is_first and (self._overwrite or not self.path.exists()):
                final = self.path
            else:
                final = free_name(self.path)
            self._is_first = False
            self.part.replace(final)
            self._retention.own.append(final)
        except OSError as error:
            raise BackendError(
                f"file://{self.path}: {error.strerror}; the recording is left in {self.part}"
            ) from error
        return final

    def _set_aside(self) -> None:
        """Gives a name to what killed runs left; with `{time}`, under the names of their starts."""
        for part in {self.part, *self._retention.unfinished()}:
            try:
                handle = os.open(part, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                self._set_aside_one(part, handle)
            finally:
                os.close(handle)

    def _set_aside_one(self, part: Path, handle: int) -> None:
        """Renames an unfinished recording; removes it where it holds nothing."""
        if not _is_locked_now(handle):
            if part != self.part:
                return
            raise BackendError(
                f"file://{self.path}: is being written by another process; name another output"
            )
        if os.fstat(handle).st_size == 0:
            part.unlink()
            return
        name = part.with_suffix("")
        kept = free_name(name) if part == self.part or name.exists() else name
        part.rename(kept)
        self._report(f"an unfinished recording was kept as {kept}")


class Piece:
    """One file of a recording while it grows; holds its lock, and pushes it onto the disk each second.

    Each piece gives up its own lock: the closing of one may come late, when the next has begun.
    """

    def __init__(self, recording: Recording, lock: int) -> None:
        self._recording, self.part = recording, recording.part
        # Opened once more: a duplicate would hold the lock as long as a hanging disk holds the thread.
        again = os.open(f"/proc/self/fd/{lock}", os.O_RDONLY | os.O_CLOEXEC)
        self._lock: int | None = lock
        self._is_released = threading.Event()
        self._checked_s = time.monotonic()
        threading.Thread(
            target=_keep_on_disk, args=(again, self._is_released), name="recording", daemon=True
        ).start()

    def is_over(self, elapsed_s: float) -> bool:
        """Whether it is to be closed: it is long or large enough, or the room to keep is used up.

        BackendError where somebody has deleted it, or the disk is gone.
        """
        if self._lock is None:
            return False
        try:
            written = os.fstat(self._lock)
        except OSError as error:
            # As of a network's disk, or one in user space whose program has ended.
            raise BackendError(f"{self.part}: {error.strerror}; see whether its disk is there") from error
        if self._recording.is_long(elapsed_s, written.st_size):
            return True
        if time.monotonic() - self._checked_s < CHECK_S:
            return False
        self._checked_s = time.monotonic()
        if written.st_nlink == 0:
            raise BackendError(f"{self.part} was deleted while it was written")
        try:
            return not self._recording.find_room()
        except OSError:
            # The disk is gone: closing says so.
            return True

    def close(self) -> Path:
        """Gives the finished piece its name and returns it."""
        try:
            return self._recording.give_name()
        finally:
            self.release()

    def release(self) -> None:
        """Gives up the lock; the `.part` stays as it is."""
        self._is_released.set()
        lock, self._lock = self._lock, None
        if lock is not None:
            # A disk that fails is told by the element that writes.
            with suppress(OSError):
                os.close(lock)


def check_folder(path: Path) -> None:
    """Makes the file's folder; ContractError where a file of this name could not be written."""
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ContractError(
            f"file://{path}: cannot make its folder ({error.strerror}); name another"
        ) from error
    if path.is_dir() or not os.access(folder, os.W_OK):
        raise ContractError(f"file://{path}: cannot be written; name a file in a folder that is writable")


def free_name(path: Path) -> Path:
    """Returns name-N with the number behind the highest that exists: a deleted piece's is not used again."""
    name = re.compile(rf"{re.escape(path.stem)}-(\d+){re.escape(path.suffix)}")
    with suppress(OSError):
        numbers = [int(match[1]) for other in path.parent.iterdir() if (match := name.fullmatch(other.name))]
        return path.with_name(f"{path.stem}-{max(numbers, default=0) + 1}{path.suffix}")
    return path.with_name(f"{path.stem}-1{path.suffix}")


def _keep_on_disk(handle: int, is_released: threading.Event) -> None:
    """Pushes what was written onto the disk each second, so that a power cut costs about the last one."""
    # A disk that fails is told by the element that writes.
    with suppress(OSError):
        try:
            while not is_released.wait(CHECK_S):
                os.fdatasync(handle)
        finally:
            os.close(handle)


def _is_locked_now(handle: int) -> bool:
    """Takes the lock of an open file; False where another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
