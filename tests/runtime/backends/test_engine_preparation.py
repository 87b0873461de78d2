"""Engines made ready in the background: by real children, with stand-ins for TensorRT and CUDA."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.backends.engine_preparation import EnginePreparation
from irvis_runtime.backends.tensorrt import TensorRtSession

SIZE_HW = (24, 32)

Child = Callable[..., Path]


@pytest.fixture
def trt(cuda: Any, install: Callable[..., Any]) -> Any:
    return install("10.3.0", cuda)


@pytest.fixture
def session(
    trt: Any, cuda: Any, write_model: Callable[..., Path], open_session: Callable[..., TensorRtSession]
) -> TensorRtSession:
    return open_session(write_model(19), cuda)


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def test_what_is_ready_has_no_failure(session: TensorRtSession, child: Child) -> None:
    child()
    preparation = EnginePreparation(session, SIZE_HW)
    until(lambda: preparation.is_over)
    assert (preparation.failure, preparation.is_final) == ("", False)
    assert preparation.took_s > 0
    assert session.is_ready(SIZE_HW)


@pytest.mark.parametrize(("ending", "is_final"), [("fail", False), ("kill", False), ("refuse", True)])
def test_only_a_refused_model_is_final(
    ending: str, is_final: bool, session: TensorRtSession, child: Child
) -> None:
    child(ending)
    preparation = EnginePreparation(session, SIZE_HW)
    until(lambda: preparation.is_over)
    assert preparation.failure
    assert preparation.is_final is is_final


def test_an_engine_that_only_the_child_can_load_is_a_failure_of_this_process(
    session: TensorRtSession, trt: Any, child: Child
) -> None:
    child()
    trt.load_error = "Error Code 1: Cuda Runtime (unspecified launch failure)"
    preparation = EnginePreparation(session, SIZE_HW)
    until(lambda: preparation.is_over)
    assert preparation.failure == "another process could load it and this one cannot; a restart may help"
    assert not preparation.is_final


def test_closing_ends_the_child_and_the_thread(session: TensorRtSession, child: Child) -> None:
    pid = child("wait")
    preparation = EnginePreparation(session, SIZE_HW)
    until(lambda: pid.exists() and pid.read_text() != "")
    preparation.close()
    assert preparation.is_over
    assert "ended by SIG" in preparation.failure
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_what_is_closed_at_once_starts_no_child(
    session: TensorRtSession, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = child("wait")
    load = session.load
    preparation: list[EnginePreparation] = []

    def load_slowly(*arguments: Any) -> bool:
        until(lambda: bool(preparation) and preparation[0]._is_closed)
        return load(*arguments)

    monkeypatch.setattr(session, "load", load_slowly)
    preparation.append(EnginePreparation(session, SIZE_HW))
    preparation[0].close()
    assert (preparation[0].failure, pid.exists()) == ("the build was stopped", False)
