"""Engines built by real child processes, in which stand-ins take the place of TensorRT and CUDA."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.backends import engine_process
from irvis_runtime.backends.engine_process import EngineProcess
from irvis_runtime.backends.tensorrt_build import BuildOptions
from irvis_runtime.errors import BackendError, ContractError

SIZE_HW = (24, 32)
OPTIONS = BuildOptions(optimization_level=2, workspace_share=0.125)

PARENT = """
import sys
from pathlib import Path
from irvis_runtime.backends.engine_process import EngineProcess
from irvis_runtime.backends.tensorrt_build import BuildOptions
EngineProcess(Path(sys.argv[1]), (24, 32), Path(sys.argv[2]), BuildOptions()).build()
"""

Child = Callable[..., Path]


@pytest.fixture
def process(write_model: Callable[..., Path], tmp_path: Path) -> EngineProcess:
    return EngineProcess(write_model(19), SIZE_HW, tmp_path / "engines", OPTIONS)


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def is_running(number: int) -> bool:
    """Whether the process runs; one that ended and was not yet waited for does not."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_the_cache_hands_the_engine_over(
    process: EngineProcess,
    child: Child,
    cuda: Any,
    install: Callable[..., Any],
    open_session: Any,
    tmp_path: Path,
) -> None:
    child()
    process.build()
    trt = install("10.3.0", cuda)
    with open_session(tmp_path / "model.onnx", cuda, options=OPTIONS) as session:
        assert session.load(SIZE_HW)
    with open_session(tmp_path / "model.onnx", cuda) as session:
        assert not session.load(SIZE_HW), "it was built with other options"
    assert trt.builds == []


def test_a_build_that_fails_says_why(process: EngineProcess, child: Child, tmp_path: Path) -> None:
    child("fail")
    with pytest.raises(
        BackendError, match=r"failed to build .* 32x24 pictures: It is too large\.; "
    ) as caught:
        process.build()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("engines/*.bin"))


def test_a_model_that_is_refused_is_told_from_what_may_end_well_next_time(
    process: EngineProcess, child: Child
) -> None:
    child("refuse")
    with pytest.raises(ContractError, match=r"/up/Resize .* mode is not supported; take another precision"):
        process.build()


def test_a_build_that_hangs_is_ended(
    process: EngineProcess, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child("wait")
    monkeypatch.setattr(engine_process, "_LONGEST_S", 0.5)
    with pytest.raises(BackendError, match=r"was ended after 0 minutes"):
        process.build()
    assert process._process is not None
    assert not is_running(process._process.pid)


def test_an_engine_that_cannot_be_kept_is_a_failure(
    write_model: Callable[..., Path], child: Child, tmp_path: Path
) -> None:
    child()
    (tmp_path / "file").write_text("no folder")
    process = EngineProcess(write_model(19), SIZE_HW, tmp_path / "file" / "engines", OPTIONS)
    with pytest.raises(BackendError, match=r"engines: cannot keep the engine that was built; free some"):
        process.build()


def test_a_build_that_is_killed_names_the_signal(process: EngineProcess, child: Child) -> None:
    child("kill")
    with pytest.raises(BackendError, match="ended by SIGKILL, as the kernel does where memory runs out"):
        process.build()


def test_without_tensorrt_the_child_says_so(process: EngineProcess, child: Child, tmp_path: Path) -> None:
    child()
    (tmp_path / "site" / "sitecustomize.py").write_text("import sys; sys.modules['tensorrt'] = None")
    with pytest.raises(BackendError, match="TensorRT cannot be imported"):
        process.build()


def test_stopping_ends_a_build(process: EngineProcess, child: Child) -> None:
    pid = child("wait")
    errors: list[BackendError] = []

    def build() -> None:
        try:
            process.build()
        except BackendError as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    until(lambda: pid.exists() and pid.read_text() != "")
    process.stop()
    thread.join(60)
    assert not is_running(int(pid.read_text()))
    assert "ended by SIG" in str(errors[0])
    with pytest.raises(BackendError, match="stopped"):
        process.build()


def test_it_gives_way_to_the_picture_and_ends_with_its_parent(
    write_model: Callable[..., Path], child: Child, tmp_path: Path
) -> None:
    pid = child("wait")
    command = [sys.executable, "-c", PARENT, str(write_model(19)), str(tmp_path / "engines")]
    parent = subprocess.Popen(command)
    try:
        until(lambda: pid.exists() and pid.read_text() != "")
        number = int(pid.read_text())
        assert is_running(number)
        assert os.getpriority(os.PRIO_PROCESS, number) >= min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
        assert int(Path(f"/proc/{number}/oom_score_adj").read_text()) >= 500
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: not is_running(number))


def test_a_child_whose_parent_is_gone_builds_nothing(
    write_model: Callable[..., Path], child: Child, tmp_path: Path
) -> None:
    child()
    process = EngineProcess(write_model(19), SIZE_HW, tmp_path / "engines", OPTIONS)
    text = process._command[-1].replace(f'"parent": {os.getpid()}', '"parent": 1')
    done = subprocess.run(
        [*process._command[:-1], text], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "the process that wanted the engine is gone" in done.stderr
    assert not (tmp_path / "engines").exists()
