"""Shared memory read by other processes; one that is stopped costs the others a second, not the picture."""

from __future__ import annotations

import signal
import socket
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.errors import ContractError
from irvis_runtime.rig import OutputConfig
from irvis_runtime.sinks.destinations import make_sink

CAPS = "video/x-raw,format=NV12,width=160,height=120,framerate=30/1"


def client(run: Any, path: Path, count: int) -> Any:
    """A process that reads pictures, -1: without end, and writes them to its standard output."""
    source = ("shmsrc", f"socket-path={path}", "is-live=true", f"num-buffers={count}")
    return run("gst-launch-1.0", "-q", *source, "!", CAPS, "!", "fdsink", "fd=1", "sync=false")


def pictures(process: Any, count: int) -> np.ndarray[Any, Any]:
    """The client's next pictures, NV12."""
    content = process.stdout.read(count * 160 * 180)
    return np.frombuffer(content, np.uint8).reshape(count, 180, 160)


def test_clients_read_raw_pictures(outputs: Any, run: Any, until: Any, tmp_path: Path) -> None:
    path = tmp_path / "fused"
    outputs.open(f"shm://{path}")
    outputs.feed()
    until(path.exists)
    for planes in (pictures(client(run, path, 5), 5) for _ in range(2)):
        assert np.all(planes[:, 60:120] == 128)
        assert np.all(np.isin(planes[:, :60], (16, 235)))
        assert np.all(planes[:, 120:] == 128)


def test_a_stopped_client_is_left_behind(outputs: Any, run: Any, until: Any, tmp_path: Path) -> None:
    """shmsink would wait for it for ever, even after its death (facts, payload 2)."""
    path = tmp_path / "fused"
    shared = outputs.open(f"shm://{path}", stall_ms=500.0)
    other = outputs.open("null://")
    feed = outputs.feed()
    until(path.exists)
    stopped = client(run, path, -1)
    pictures(stopped, 3)
    stopped.send_signal(signal.SIGSTOP)
    until(lambda: shared.stalls >= 1)
    until(lambda: any("works again" in line for line in outputs.lines))
    assert len(pictures(client(run, path, 5), 5)) == 5
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
    assert len(pictures(client(run, path, 2), 2)) == 2


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
