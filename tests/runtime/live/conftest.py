"""Fusers on the stand-ins for TensorRT and CUDA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from irvis_runtime.backends import cudart
from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.fuser import Fuser
from irvis_runtime.live.stand_in import StandInFuser

from .stand_in_pictures import PATIENT_MS, Open


@pytest.fixture
def trt(cuda: Any, install: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A board with TensorRT, for this process."""
    monkeypatch.setattr(cudart, "CDLL", lambda name: cuda)
    monkeypatch.setenv("IRVIS_CACHE", str(tmp_path / "cache"))
    return install("10.3.0", cuda)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def open_fuser(trt: Any, told: list[str]) -> Iterator[Open]:
    """Opens StandInFusers that are closed after the test."""
    with ExitStack() as stack:

        def open_(slow_ms: float = PATIENT_MS, cache: EngineCache | None = None) -> StandInFuser:
            engine = Fuser(backend="tensorrt")
            if cache is not None:
                engine.session.cache = cache  # type: ignore[attr-defined]
            return stack.enter_context(StandInFuser(engine, 1, told.append, slow_ms))

        yield open_
