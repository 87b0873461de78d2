"""Shared by the tests of outputs: numbered pictures, outputs that are fed, and what is read back."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from irvis_runtime.gstreamer import Description, build_pipeline, start_pipeline, stop_pipeline
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks import branch as branch_module
from irvis_runtime.sinks.branch import Branch
from irvis_runtime.sinks.destinations import make_sink
from irvis_runtime.sinks.outlet import Sink
from irvis_runtime.sinks.picture import Picture, grey_chroma

from .waiting import until

FINISH_S = 30.0
"""How long the end of an output may take here: a busy machine is no fault."""
FPS = 30
BITS = 16


def numbered(index: int, size_hw: tuple[int, int] = (120, 160), noise: int = 0) -> Picture:
    """A picture that bears its number as a row of black and white bars; `noise` makes it hard to encode."""
    height, width = size_hw
    bits = (index >> np.arange(BITS)) & 1
    luma_hw = np.full(size_hw, 128, np.uint8)
    if noise:
        luma_hw = np.random.default_rng(index).integers(128 - noise, 128 + noise, size_hw).astype(np.uint8)
    bars_w = np.repeat(np.where(bits, 235, 16), width // BITS).astype(np.uint8)
    luma_hw[: height // 2, : bars_w.size] = bars_w
    return Picture(luma_hw, grey_chroma(size_hw), index * 1_000_000_000 // FPS, "bt709")


def number(luma_hw: NDArray[np.uint8]) -> int:
    """The number that a decoded picture bears."""
    height, width = luma_hw.shape
    bar = width // BITS
    row = luma_hw[height // 8 : height // 4].mean(0)[: BITS * bar].reshape(BITS, bar)[:, 1:-1].mean(1)
    return int(((row > 128) << np.arange(BITS)).sum())


@dataclass
class Feed:
    """Pushes numbered pictures into branches from a thread of its own until it is stopped."""

    branches: list[Branch]
    size_hw: tuple[int, int] = (120, 160)
    noise: int = 0
    step_s: float = 0.02
    pushed: int = 0
    longest_push_s: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            made = numbered(self.pushed, self.size_hw, self.noise)
            for branch in self.branches:
                started_s = time.monotonic()
                branch.push(made)
                self.longest_push_s = max(self.longest_push_s, time.monotonic() - started_s)
            self.pushed += 1
            self._stop.wait(self.step_s)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@dataclass
class Outputs:
    """Branches of a test, and the lines that they report."""

    lines: list[str] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    feeds: list[Feed] = field(default_factory=list)

    def open(self, sink: str | Sink, **keys: Any) -> Branch:
        """Starts the output of a URI with keys of its [[output]], or of a sink."""
        if isinstance(sink, str):
            # A busy machine is no fault; the tests of the watchdog set their own.
            keys.setdefault("stall_ms", 30_000.0)
            sink = make_sink(OutputConfig(sink, **keys), self.lines.append)
        branch = Branch(sink, "generic", self.lines.append)
        branch.start()
        self.branches.append(branch)
        return branch

    def feed(self, *branches: Branch, **keys: Any) -> Feed:
        """Feeds these outputs, or all, from now on."""
        feed = Feed(list(branches or self.branches), **keys)
        self.feeds.append(feed)
        return feed

    def close(self) -> None:
        """Ends the feeds, then the outputs."""
        for feed in self.feeds:
            feed.stop()
        for branch in self.branches:
            branch.stop()
        for branch in self.branches:
            branch.join(2 * FINISH_S)


@pytest.fixture
def outputs(gstreamer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outputs]:
    """Opens and feeds outputs; all are closed after the test, and none may have had a defect."""
    monkeypatch.setattr(branch_module, "CLOSE_S", FINISH_S)
    outputs = Outputs()
    yield outputs
    outputs.close()
    assert [branch.defect for branch in outputs.branches] == [None] * len(outputs.branches)


@dataclass(frozen=True)
class Reader:
    """Reads back what came out of a sink, with GStreamer."""

    Gst: ModuleType

    def lumas(self, launch: str, count: int | None = None, **properties: Any) -> list[NDArray[np.uint8]]:
        """The lumas of all, or `count`, pictures that a launch text which ends in raw video gives."""
        text = f"{launch} ! videoconvert ! video/x-raw,format=GRAY8 ! appsink name=out sync=false"
        pipeline = build_pipeline(Description(text, {"in": properties} if properties else {}))
        start_pipeline(pipeline, time.monotonic_ns())
        appsink = pipeline.get_by_name("out")
        found: list[NDArray[np.uint8]] = []
        try:
            while len(found) != count:
                sample = appsink.try_pull_sample(60 * self.Gst.SECOND)
                if sample is None:
                    break
                found.append(_luma(sample))
        finally:
            stop_pipeline(pipeline)
        return found

    def numbers(self, path: Path) -> list[int]:
        """The numbers of a recording's pictures."""
        return [number(luma) for luma in self.lumas("filesrc name=in ! decodebin", location=str(path))]

    def caps(self, path: Path) -> Any:
        """The caps of a recording's encoded stream, as its parser tells them."""
        text = "filesrc name=in ! parsebin ! appsink name=out sync=false"
        pipeline = build_pipeline(Description(text, {"in": {"location": str(path)}}))
        start_pipeline(pipeline, time.monotonic_ns())
        sample = pipeline.get_by_name("out").try_pull_sample(60 * self.Gst.SECOND)
        stop_pipeline(pipeline)
        return sample.get_caps().get_structure(0)


def _luma(sample: Any) -> NDArray[np.uint8]:
    structure, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
    width, height = structure.get_value("width"), structure.get_value("height")
    content = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
    luma_hw: NDArray[np.uint8] = content.reshape(height, -1)[:, :width].copy()
    return luma_hw


@pytest.fixture
def reader(gstreamer: ModuleType) -> Reader:
    """Reads back what came out."""
    return Reader(gstreamer)


Run = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts another process, which is killed at the end of the test, stopped or not."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **popen: Any) -> subprocess.Popen[bytes]:
        processes.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                **popen,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], bool]], None]:
    """Waits for a condition; the test fails where it does not come true."""
    return until


@pytest.fixture
def port() -> int:
    """A TCP port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Make = Callable[..., Path]


@pytest.fixture
def certificate(tmp_path: Path) -> Make:
    """Makes a self-signed certificate of this machine, with its key in the same file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")

    def make(name: str, *options: str) -> Path:
        made = [tmp_path / f"{name}.{part}" for part in ("key", "crt")]
        command = [
            openssl,
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=irvis",
            "-days",
            "2",
        ]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made[0]), "-out", str(made[1])]
        subprocess.run([*command, *options], capture_output=True, timeout=300, check=True)
        both = tmp_path / f"{name}.pem"
        both.write_text("".join(path.read_text() for path in made))
        both.chmod(0o600)
        return both

    return make
