"""shm://: raw NV12 for other processes on this machine, as `shmsrc` takes it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.gstreamer import Description, Platform, build_pipeline
from irvis_runtime.rig import OutputConfig
from irvis_runtime.uri import Uri

from .outlet import Sink
from .picture import Picture
from .pipeline import APPSRC, LIVE_PICTURES, PipelineOutlet

SHARED_PICTURES = 8
"""How many pictures clients may hold at a time before the sink has to wait for them."""
MAX_SOCKET_PATH = 107


@dataclass(frozen=True)
class SharedMemorySink:
    """A socket through which clients get at the pictures in shared memory.

    A client that holds pictures and does not go on, as under SIGSTOP, blocks shmsink for ever: the branch
    then opens it again, and the other clients connect anew.
    """

    uri: str
    path: Path
    stall_s: float
    waiting_pictures: int = LIVE_PICTURES

    def check(self, platform: Platform) -> None:
        """ContractError where another process or another kind of file has the path."""
        if not self.path.exists():
            return
        if not stat.S_ISSOCK(self.path.stat().st_mode):
            raise ContractError(f"{self.uri}: {self.path} is no socket; name another path")
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.connect(str(self.path))
            raise ContractError(f"{self.uri}: another process serves {self.path}; name another path")

    def open(self, platform: Platform, picture: Picture) -> PipelineOutlet:
        """Begins to serve; the socket of a killed run, or of an outlet that hangs, makes way."""
        try:
            if self.path.exists() and stat.S_ISSOCK(self.path.stat().st_mode):
                os.unlink(self.path)
        except OSError as error:
            raise BackendError(f"{self.path}: {error.strerror}; name another path") from error
        size_bytes = SHARED_PICTURES * picture.shared_buffer.get_size()
        shm = {"socket-path": str(self.path), "shm-size": size_bytes}
        launch = f"{APPSRC} ! shmsink name=shm wait-for-connection=false sync=false async=false"
        return PipelineOutlet(build_pipeline(Description(launch, {"shm": shm})), picture)


def make_shared_memory(uri: Uri, config: OutputConfig, report: Callable[[str], None]) -> Sink:
    """Raw pictures at a socket's path."""
    path = Path(uri.location)
    if not path.is_absolute() or path.is_dir():
        raise ContractError(f"{uri.text}: expected a socket's path, as shm:///run/irvis/fused")
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ContractError(
            f"{uri.text}: a socket's path has up to {MAX_SOCKET_PATH} bytes; name a shorter one"
        )
    if not os.access(path.parent, os.W_OK):
        raise ContractError(f"{uri.text}: expected a folder that is writable, got {path.parent}; make it")
    return SharedMemorySink(uri.text, path, config.stall_ms / 1e3)
