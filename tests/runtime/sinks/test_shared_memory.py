"""Shared memory read by other processes; one that is stopped costs the others a second, not the picture."""

from __future__ import annotations

import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks.destinations import make_sink

from .waiting import LIMIT_S, received

CAPS = "video/x-raw,format=NV12,width=160,height=120,framerate=30/1"


PICTURE_BYTES = 160 * 180


def client(run: Any, path: Path) -> Any:
    """A process that reads pictures and writes them to its standard output."""
    source = ("shmsrc", f"socket-path={path}", "is-live=true")
    return run("gst-launch-1.0", "-q", *source, "!", CAPS, "!", "fdsink", "fd=1", "sync=false")


def pictures(run: Any, path: Path, count: int) -> tuple[np.ndarray[Any, Any], Any]:
    """What a client reads, NV12, and the client, which goes on."""
    content, end_s = b"", time.monotonic() + LIMIT_S
    while len(content) < count * PICTURE_BYTES:
        # Where the output is opened again just now, its socket is away, or the client's is a dead one.
        assert time.monotonic() < end_s, "no client has so many pictures"
        process = client(run, path)
        content = received(process, count * PICTURE_BYTES)
    return np.frombuffer(content, np.uint8).reshape(count, 180, 160), process


def test_clients_read_raw_pictures(outputs: Any, run: Any, until: Any, tmp_path: Path) -> None:
    path = tmp_path / "fused"
    outputs.open(f"shm://{path}")
    outputs.feed()
    until(path.exists)
    for planes in (pictures(run, path, 5)[0] for _ in range(2)):
        assert np.all(planes[:, 60:120] == 128)
        assert np.all(np.isin(planes[:, :60], (16, 235)))
        assert np.all(planes[:, 120:] == 128)


def test_a_stopped_client_is_left_behind(outputs: Any, run: Any, until: Any, tmp_path: Path) -> None:
    """shmsink would wait for it for ever, even after its death (facts, payload 2)."""
    path = tmp_path / "fused"
    shared = outputs.open(f"shm://{path}", stall_ms=1500.0)
    other = outputs.open("null://")
    feed = outputs.feed()
    until(path.exists)
    _, stopped = pictures(run, path, 3)
    before, told = shared.stalls, len(outputs.lines)
    stopped.send_signal(signal.SIGSTOP)
    until(lambda: shared.stalls > before)
    until(lambda: any("works again" in line for line in outputs.lines[told:]))
    pictures(run, path, 5)
    sent = shared.sent
    until(lambda: shared.sent > sent + 30)
    assert feed.longest_push_s < 5
    outputs.close()
    assert other.sent + other.dropped == feed.pushed
    assert not path.exists()


def test_the_socket_of_a_killed_run_makes_way(outputs: Any, run: Any, until: Any, tmp_path: Path) -> None:
    path = tmp_path / "fused"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    shared = outputs.open(f"shm://{path}")
    outputs.feed()
    until(lambda: shared.sent > 3)
    assert stat.S_ISSOCK(path.stat().st_mode)
    pictures(run, path, 2)


def test_a_path_that_another_process_serves_or_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fused"
    sink = make_sink(OutputConfig(f"shm://{path}"), print)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ContractError, match="another process serves"):
            sink.check("generic")
    path.unlink()
    path.write_text("a diary")
    with pytest.raises(ContractError, match="is no socket"):
        sink.check("generic")
