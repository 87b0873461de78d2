"""Rigs, cameras that can be broken, and live runs in the test's process with a record of what goes out."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.buffers import new_buffer
from irvis_runtime.cameras import sources
from irvis_runtime.cameras.feed import APPSRC, Feed
from irvis_runtime.cameras.source import APPSINK, Role, Source
from irvis_runtime.errors import BackendError, ContractError
from irvis_runtime.fuser import Fuser
from irvis_runtime.gstreamer import Description, Platform
from irvis_runtime.live.loop import Live
from irvis_runtime.live.reload import Reloader
from irvis_runtime.rig import load_rig
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.picture import Picture
from irvis_runtime.uri import Uri

HEIGHT, WIDTH, FPS = 48, 64, 20
PATTERN = "test://?width=160&height=120&fps=30&pattern=ball"
PATTERN_FPS = 30


def rig_text(
    visible: str = PATTERN, infrared: str = PATTERN, outputs: Sequence[str] = ("null://",), more: str = ""
) -> str:
    """Returns a rig of two sources and these outputs."""
    sinks = "".join(f'[[output]]\nsink = "{sink}"\n' for sink in outputs)
    return f'[visible]\nsource = "{visible}"\n[infrared]\nsource = "{infrared}"\n{sinks}{more}'


def write_raw_cameras(folder: Path, size_hw: tuple[int, int], frames: int) -> None:
    """Writes noise for raw:// sources: visible.raw (nv12) and infrared.raw (gray16), of equal size."""
    height, width = size_hw
    rng = np.random.default_rng(0)
    nv12 = rng.integers(0, 256, frames * width * height * 3 // 2, np.uint8)
    counts = rng.integers(0, 65536, frames * width * height, np.uint16)
    (folder / "visible.raw").write_bytes(nv12.tobytes())
    (folder / "infrared.raw").write_bytes(counts.tobytes())


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Waits for the condition; the test fails where it does not come true.

    What unstressed takes a second or two takes tens on a busy machine: the limit is for what never comes.
    """
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def play(
    main: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    is_enough: Callable[[], bool] = lambda: True,
    seconds: Sequence[float] = (2.0, 8.0, 32.0),
) -> None:
    """Runs `irvis live` with --seconds, each longer where a busy machine was too slow for the one before."""
    for limit in seconds[:-1]:
        # Without a picture in that time it is an error: right, but no answer.
        with suppress(BackendError):
            if main([*arguments, "--seconds", str(limit)]) == 0 and is_enough():
                return
    assert main([*arguments, "--seconds", str(seconds[-1])]) == 0
    assert is_enough(), "too little came out in the longest run"


class Notified:
    """A service manager's socket; unless `lines` is called again and again, its eleventh sender waits."""

    def __init__(self, path: Path) -> None:
        self._heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def lines(self) -> list[str]:
        """All lines so far."""
        with suppress(BlockingIOError):
            while True:
                self._heard += self._socket.recv(1000).decode().splitlines()
        return self._heard

    def close(self) -> None:
        self._socket.close()


class BreakableCamera:
    """A camera of a real pipeline whose pictures the test spoils: set `mode`."""

    def __init__(self, seed: int) -> None:
        self.mode = "well"
        """well, silent, frozen, black or slow."""
        self.opened = 0
        self._random = np.random.default_rng(seed)
        self._last = self._picture()

    def source(self, uri: Uri, role: Role, platform: Platform) -> Source:
        """The camera as make_source gives one; it is judged as a real one is."""
        form = "NV12" if role == "visible" else "GRAY8"
        caps = f"video/x-raw,format={form},width={WIDTH},height={HEIGHT},framerate={FPS}/1"
        launch = f"{APPSRC} caps={caps} ! {APPSINK} sync=false"
        return Source(
            uri.text, Description(launch), feed=Feed(lambda index: new_buffer(self._planes(role)), FPS)
        )

    def _picture(self) -> NDArray[np.uint8]:
        return self._random.integers(40, 200, (HEIGHT, WIDTH)).astype(np.uint8)

    def _planes(self, role: Role) -> Sequence[NDArray[Any]]:
        if self.mode == "silent":
            time.sleep(0.5)
            raise ContractError("the cable is out")
        if self.mode == "slow":
            time.sleep(1.2)
        if self.mode == "black":
            self._last = self._random.integers(0, 4, (HEIGHT, WIDTH)).astype(np.uint8)
        elif self.mode != "frozen":
            self._last = self._picture()
        grey = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
        return [self._last, grey] if role == "visible" else [self._last]


class LiveRun:
    """One run in a thread, and the times, sizes and states of the pictures that went out."""

    def __init__(self, fuser: Fuser, folder: Path) -> None:
        self.fuser, self.folder = fuser, folder
        self.cameras = {"visible": BreakableCamera(1), "infrared": BreakableCamera(2)}
        self.pictures: list[Picture] = []
        self.pushed_s: list[float] = []
        self.states: list[str] = []
        self.failure: BaseException | None = None

    @property
    def rig(self) -> Path:
        """The rig file."""
        return self.folder / "rig.toml"

    def status(self) -> dict[str, Any]:
        """The newest status file."""
        status: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return status

    def push(self, branch: Branch, picture: Picture) -> None:
        """Notes a picture on its way to an output."""
        self.pictures.append(picture)
        self.pushed_s.append(time.monotonic())

    def largest_gap_s(self) -> float:
        """The longest time without a picture since the first one."""
        return float(np.diff(self.pushed_s).max(initial=0.0))

    def is_state(self, state: str) -> Callable[[], bool]:
        """A condition for `until`."""
        return lambda: self.failure is not None or self.live.state == state

    def count(self, more: int) -> Callable[[], bool]:
        """A condition: so many further pictures have gone out."""
        wanted = len(self.pictures) + more
        return lambda: self.failure is not None or len(self.pictures) >= wanted

    def run(self, stop: threading.Event) -> None:
        """The thread."""
        try:
            self.live.run(self.fuser, stop, None, self.folder / "status.json", self.reloader)
        except BaseException as error:
            self.failure = error

    @contextmanager
    def running(self, text: str) -> Iterator[None]:
        """Runs a rig while the block does."""
        self.rig.write_text(text)
        self.live = Live(load_rig(self.rig), "generic")
        self.reloader = Reloader(lambda: load_rig(self.rig))
        stop = threading.Event()
        thread = threading.Thread(target=self.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            for camera in self.cameras.values():
                camera.mode = "well"
            stop.set()
            thread.join()
        if self.failure is not None:
            raise self.failure


def breakable_run(fuser: Fuser, folder: Path, monkeypatch: pytest.MonkeyPatch) -> LiveRun:
    """A run with the schemes `broken://visible` and `broken://infrared`, whose pictures are noted."""
    run = LiveRun(fuser, folder)

    def broken(uri: Uri, role: Role, platform: Platform) -> Source:
        return run.cameras[uri.location].source(uri, role, platform)

    push = Branch.push

    def noted(branch: Branch, picture: Picture) -> None:
        run.push(branch, picture)
        push(branch, picture)

    monkeypatch.setattr(sources, "SCHEMES", {**sources.SCHEMES, "broken": broken})
    monkeypatch.setattr(Branch, "push", noted)
    return run


SENDER = """
import sys, time
from irvis_runtime.gstreamer import Description, build_pipeline, start_pipeline
from irvis_runtime.sinks.encoders import choose_encoder
port, width, height = map(int, sys.argv[1:])
caps = f"video/x-raw,format=NV12,width={width},height={height},framerate=20/1"
launch = (
    f"videotestsrc is-live=true pattern=snow ! {caps} ! {choose_encoder('generic', 1000, (height, width))} ! "
    "h264parse config-interval=1 ! rtph264pay config-interval=1 ! "
    f"udpsink host=127.0.0.1 port={port} sync=false"
)
start_pipeline(build_pipeline(Description(launch)), time.monotonic_ns())
time.sleep(600)
"""


class Sender:
    """Another process that sends a stream here."""

    def __init__(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, width: int, height: int) -> None:
        command = [sys.executable, "-c", SENDER, str(self.port), str(width), str(height)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
