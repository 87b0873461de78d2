"""What fails in a flight with TensorRT, and what serves then: real children, stand-ins for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.backends import retry
from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.backends.retry import LONGEST_S
from irvis_runtime.fuser import Fuser
from irvis_runtime.live import stand_in

from .stand_in_pictures import SIZE_HW, Child, Open, fuse_until, is_engine, pictures


@pytest.mark.parametrize(
    ("ending", "reason"), [("fail", "It is too large."), ("kill", "ended by SIGKILL, as the kernel does")]
)
def test_a_build_that_fails_is_told_once_and_the_stand_in_serves_on(
    ending: str, reason: str, open_fuser: Open, child: Child, told: list[str]
) -> None:
    child(ending)
    fuser = open_fuser()
    fuse_until(fuser, lambda: len(told) > 1)
    for seed in range(5):
        assert fuser.fuse(*pictures(seed)).shape == SIZE_HW
    assert fuser.backend == "onnxruntime"
    assert len(told) == 2
    assert told[1].startswith("no TensorRT engine for 32x24 pictures (tried again in 60 s): ")
    assert reason in told[1]
    assert told[1].endswith("; onnxruntime serves on")


def test_a_build_that_failed_is_tried_again_and_told_by_a_line_each_time(
    open_fuser: Open, child: Child, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.0)
    child("kill")
    fuser = open_fuser()
    fuse_until(fuser, lambda: len(told) > 2)
    assert fuser.description.endswith("as the kernel does where memory runs out")
    child()
    fuse_until(fuser, is_engine(fuser))
    assert fuser.description == f"tensorrt 10.3.0, fp16: {fuser.reason}"
    assert len([line for line in told if "prepares" in line]) == 1
    for line in told[1:-2]:
        assert line.startswith("no TensorRT engine for 32x24 pictures (tried again in 0 s): ")
    assert told[-1].startswith("now tensorrt")


def test_a_model_that_tensorrt_refuses_is_not_tried_again(
    open_fuser: Open, child: Child, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.0)
    child("refuse")
    fuser = open_fuser()
    fuse_until(fuser, lambda: len(told) > 1)
    assert told[1].startswith("no TensorRT engine for 32x24 pictures (not tried again): TensorRT failed to ")
    monkeypatch.setattr(stand_in, "EnginePreparation", never)
    fuser.fuse(*pictures())
    assert fuser.backend == "onnxruntime"


def never(*arguments: object) -> None:
    raise AssertionError("it was tried again")


def test_an_engine_for_which_memory_was_short_is_loaded_later_and_not_built_again(
    open_fuser: Open, child: Child, trt: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    child()
    first = open_fuser()
    fuse_until(first, is_engine(first))
    monkeypatch.setattr(retry, "FIRST_S", 0.0)
    monkeypatch.setattr("irvis_runtime.backends.engine_process.EngineProcess.build", never)
    trt.load_error = "[executionContext.cpp::470] Error Code 2: OutOfMemory (no further information)"
    told.clear()
    fuser = open_fuser()
    fuse_until(fuser, lambda: len(told) > 1)
    assert "OutOfMemory (no further information); free some memory" in told[1]
    trt.load_error = ""
    fuse_until(fuser, is_engine(fuser))


def test_an_engine_that_fails_in_flight_makes_way_for_the_stand_in_and_comes_back(
    open_fuser: Open, child: Child, cuda: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    child()
    fuser = open_fuser()
    fuse_until(fuser, is_engine(fuser))
    cuda.failures["cudaGraphLaunch"] = 719
    infrared, visible = pictures(1)
    with Fuser(backend="onnxruntime", threads=1) as reference:
        np.testing.assert_array_equal(fuser.fuse(infrared, visible), reference.fuse(infrared, visible))
    assert (fuser.backend, fuser.is_passing_through) == ("onnxruntime", False)
    assert set(cuda.held().values()) == {0}
    assert told[-1].startswith("TensorRT failed on a picture of 32x24 (tried again in 60 s): cudaGraphLaunch")
    assert told[-1].endswith("; onnxruntime serves on")
    cuda.failures.clear()
    monkeypatch.setattr("irvis_runtime.backends.engine_process.EngineProcess.build", never)
    monkeypatch.setattr(fuser._retries[SIZE_HW], "_due_s", 0.0)
    fuse_until(fuser, is_engine(fuser))
    # It had not served for long: the next wait is longer.
    cuda.failures["cudaGraphLaunch"] = 719
    fuser.fuse(infrared, visible)
    assert "(tried again in 2 min)" in told[-1]
    cuda.failures.clear()
    monkeypatch.setattr(fuser._retries[SIZE_HW], "_due_s", 0.0)
    fuse_until(fuser, is_engine(fuser))
    fuser._serving_since_s -= LONGEST_S
    cuda.failures["cudaGraphLaunch"] = 719
    fuser.fuse(infrared, visible)
    assert "(tried again in 60 s)" in told[-1]


def test_a_gpu_that_is_lost_ends_neither_the_flight_nor_its_landing(
    open_fuser: Open, child: Child, cuda: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    child()
    fuser = open_fuser()
    fuse_until(fuser, is_engine(fuser))
    monkeypatch.setattr(retry, "FIRST_S", 0.0)
    told.clear()
    cuda.failures.update({name: 700 for name in vars(cuda) if name.startswith("cuda")})
    fuse_until(fuser, lambda: len(told) > 2)
    assert fuser.backend == "onnxruntime"
    assert told[0].startswith("TensorRT failed on a picture of 32x24 (tried again in 0 s): cudaGraphLaunch")
    assert told[1].startswith("no TensorRT engine for 32x24 pictures (tried again in 0 s): cudaStreamCreate")
    fuser.close()


def test_a_stand_in_that_fails_lets_the_visible_picture_through_and_is_tried_again(
    open_fuser: Open, child: Child, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    child("wait")
    fuser = open_fuser()
    infrared, visible = pictures()
    fuser.fuse(infrared, visible)
    assert fuser._stand_in is not None
    fuser._stand_in.close()
    np.testing.assert_array_equal(fuser.fuse(infrared, visible), visible)
    assert (fuser.backend, fuser.is_passing_through) == ("none", True)
    assert "passes through until TensorRT is ready (onnxruntime is tried again in 60 s): " in told[-1]
    np.testing.assert_array_equal(fuser.fuse(infrared, visible), visible)
    monkeypatch.setattr(fuser._stand_in_retry, "_due_s", 0.0)
    assert not np.array_equal(fuser.fuse(infrared, visible), visible)
    assert (fuser.backend, len(told)) == ("onnxruntime", 2)


def test_where_no_passing_folder_can_be_made_the_picture_goes_on(
    open_fuser: Open, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    fuser = open_fuser(cache=EngineCache(None))
    fuse_until(fuser, lambda: len(told) > 1)
    assert "No such file or directory" in told[1]
    assert fuser.backend == "onnxruntime"
