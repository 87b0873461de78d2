"""What serves while TensorRT builds: ONNX Runtime and child processes as they are, stand-ins for the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.errors import BackendError
from irvis_runtime.fuser import Fuser
from irvis_runtime.live import stand_in as stand_in_module
from irvis_runtime.live.stand_in import JUDGED_PICTURES, StandInFuser, open_live_fuser

from .live_rigs import until
from .stand_in_pictures import SIZE_HW, Child, Open, fuse_until, is_engine, pictures


def test_onnx_runtime_serves_from_the_first_picture_and_the_engine_once_it_is_built(
    open_fuser: Open, child: Child, trt: Any, told: list[str]
) -> None:
    child()
    fuser = open_fuser()
    infrared, visible = pictures(1)
    with Fuser(backend="onnxruntime", threads=1) as reference:
        np.testing.assert_array_equal(fuser.fuse(infrared, visible), reference.fuse(infrared, visible))
        assert (fuser.backend, fuser.precision) == ("onnxruntime", reference.precision)
        assert fuser.versions == {"tensorrt": "10.3.0", "cuda": "12.6", **reference.versions}
    assert not fuser.is_passing_through
    fuse_until(fuser, is_engine(fuser))
    np.testing.assert_array_equal(fuser.fuse(infrared, visible), np.maximum(infrared, visible))
    assert (fuser.backend, fuser.precision) == ("tensorrt", "fp16")
    assert fuser.versions == {"tensorrt": "10.3.0", "cuda": "12.6"}
    assert [line.partition(",")[0] for line in told] == [
        "TensorRT prepares its engine for 32x24 pictures",
        told[1],
        "now tensorrt 10.3.0",
    ]
    assert told[1].startswith("the TensorRT engine for 32x24 pictures came in ")
    assert trt.builds == [], "it was built here and not in a child"


def test_an_engine_of_an_earlier_run_is_loaded_without_a_child(
    open_fuser: Open, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    child()
    first = open_fuser()
    fuse_until(first, is_engine(first))

    def never(self: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr("irvis_runtime.backends.engine_process.EngineProcess.build", never)
    second = open_fuser()
    fuse_until(second, is_engine(second))


def test_a_stand_in_that_cannot_keep_up_lets_the_visible_picture_through_until_nothing_is_awaited(
    open_fuser: Open, child: Child, told: list[str]
) -> None:
    pid = child("wait")
    fuser = open_fuser(slow_ms=0.0)
    infrared, visible = pictures()
    for _ in range(JUDGED_PICTURES + 1):
        assert not fuser.is_passing_through
        assert not np.array_equal(fuser.fuse(infrared, visible), visible)
    fused = fuser.fuse(infrared, visible)
    assert fuser.is_passing_through
    assert fuser.backend == "none"
    np.testing.assert_array_equal(fused, visible)
    assert not np.shares_memory(fused, visible)
    assert told[1].startswith(
        "the visible picture passes through until TensorRT is ready: onnxruntime takes "
    )
    fuse_until(fuser, lambda: pid.exists() and pid.read_text() != "")
    os.kill(int(pid.read_text()), 15)
    fuse_until(fuser, lambda: len(told) > 2)
    assert "ended by SIGTERM; onnxruntime serves on" in told[2]
    for _ in range(2 * JUDGED_PICTURES):
        assert not np.array_equal(fuser.fuse(infrared, visible), visible)
    assert (fuser.is_passing_through, len(told)) == (False, 3)


def test_without_onnx_runtime_the_visible_picture_passes_through_until_the_engine_is_there(
    open_fuser: Open, child: Child, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    child()
    fuser = open_fuser()

    def missing(*arguments: object) -> Fuser:
        raise BackendError("ONNX Runtime is missing; install it")

    monkeypatch.setattr(stand_in_module, "Fuser", missing)
    infrared, visible = pictures()
    np.testing.assert_array_equal(fuser.fuse(infrared, visible), visible)
    assert fuser.is_passing_through
    assert told[1].endswith(
        "until TensorRT is ready (onnxruntime is tried again in 60 s): ONNX Runtime is missing; install it"
    )
    fuse_until(fuser, is_engine(fuser))
    assert not fuser.is_passing_through
    np.testing.assert_array_equal(fuser.fuse(infrared, visible), np.maximum(infrared, visible))


def test_closing_during_a_build_ends_the_child(open_fuser: Open, child: Child) -> None:
    pid = child("wait")
    fuser = open_fuser()
    fuse_until(fuser, lambda: pid.exists() and pid.read_text() != "")
    fuser.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    with pytest.raises(BackendError, match="closed"):
        fuser.fuse(*pictures())


def test_where_no_folder_can_be_kept_a_passing_one_hands_the_engine_over(
    open_fuser: Open, child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child()
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    fuser = open_fuser(cache=EngineCache(None))
    fuse_until(fuser, is_engine(fuser))
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not list(tmp_path.glob("cache/engines/*.bin"))


def test_each_size_has_its_engine_and_the_stand_in_serves_between(
    open_fuser: Open, child: Child, told: list[str]
) -> None:
    child()
    fuser = open_fuser()
    other_hw = (20, 48)
    fuse_until(fuser, is_engine(fuser))
    fuser.fuse(*pictures(size_hw=other_hw))
    assert fuser.backend == "onnxruntime"
    fuse_until(fuser, is_engine(fuser), other_hw)
    for size_hw in (SIZE_HW, other_hw, SIZE_HW):
        infrared, visible = pictures(3, size_hw)
        np.testing.assert_array_equal(fuser.fuse(infrared, visible), np.maximum(infrared, visible))
    assert [line for line in told if "prepares its engine for 48x20" in line]


def test_only_tensorrt_needs_a_stand_in(trt: Any, told: list[str]) -> None:
    with open_live_fuser(None, "auto", "auto", 1, told.append) as fuser:
        assert isinstance(fuser, StandInFuser)
        assert fuser.description == f"tensorrt 10.3.0, fp16: {fuser.reason}"
    with open_live_fuser(None, "fp32", "onnxruntime", 1, told.append) as fuser:
        assert isinstance(fuser, Fuser)
        assert not fuser.is_passing_through
        with pytest.raises(BackendError, match="expected a Fuser on tensorrt, got one on onnxruntime"):
            StandInFuser(fuser, 1, told.append)
    assert told == []


@pytest.mark.usefixtures("gstreamer")
def test_live_starts_at_once_and_goes_over_to_the_engine(child: Child, tmp_path: Path) -> None:
    """The command itself, with a board's TensorRT in it and in its child."""
    child()
    source = "test://?width=64&height=48&fps=30&pattern=ball"
    text = f'[visible]\nsource = "{source}"\n[infrared]\nsource = "{source}"\n[[output]]\nsink = "null://"\n'
    (tmp_path / "rig.toml").write_text(text)
    command = [sys.executable, "-m", "irvis_runtime", "live", "rig.toml", "--status", "status.json"]
    environment = {**os.environ, "IRVIS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
    )
    status = tmp_path / "status.json"

    def is_over() -> bool:
        seen: dict[str, Any] = json.loads(status.read_text()) if status.exists() else {"state": ""}
        has_engine = seen["state"] == "fusing" and seen["backend"] == "tensorrt"
        return process.poll() is not None or (has_engine and "onnxruntime" not in seen["versions"])

    try:
        until(is_over)
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=120)
    lines = errors.splitlines()
    assert process.returncode == 0, errors
    assert lines[0] == "irvis live: tensorrt 10.3.0, fp16: found here, its first choice"
    # On a busy machine ONNX Runtime is given up between the first and the last of them, and told to be.
    told = [line for line in lines if "TensorRT" in line or "now tensorrt" in line]
    assert told[0].startswith("irvis live: TensorRT prepares its engine for 64x48 pictures")
    assert told[-1] == "irvis live: now tensorrt 10.3.0, fp16: found here, its first choice"
    assert json.loads(status.read_text())["precision"] == "fp16"
