"""When an engine comes from the cache, and when it is built anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.backends import tensorrt_build
from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.backends.tensorrt import TensorRtSession
from irvis_runtime.backends.tensorrt_build import BuildOptions
from irvis_runtime.board import Jetson
from irvis_runtime.errors import BackendError

Open = Callable[..., TensorRtSession]
Inputs = Callable[..., dict[str, Any]]
MIB = 1 << 20
NX = Jetson(
    model="NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
    l4t="36.4.3",
    power_mode_id=0,
    power_mode="MAXN",
)


def run(session: TensorRtSession, inputs: dict[str, Any]) -> None:
    with session:
        fused = session.infer(inputs)["fused"]
    assert np.array_equal(fused, np.maximum(inputs["infrared"], inputs["visible"]))


@pytest.fixture
def trt(cuda: Any, install: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(tensorrt_build, "read_jetson", lambda: NX)
    return install("10.3.0", cuda)


@pytest.fixture
def model(write_model: Callable[..., Path]) -> Path:
    return write_model(19)


def test_a_second_session_takes_the_engine_from_the_cache(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    for seed in range(2):
        run(open_session(model, cuda), make_inputs(seed=seed))
    assert (len(trt.builds), trt.loads) == (1, 2)


def test_the_sidecar_names_all_that_the_engine_depends_on(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    run(open_session(model, cuda), make_inputs())
    texts = [path.read_text() for path in model.parent.glob("engines/*.json")]
    (identity,) = [entry for text in texts if (entry := json.loads(text)["identity"])["kind"] == "engine"]
    assert identity == {
        "kind": "engine",
        "onnx_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "tensorrt": "10.3.0",
        "cuda": "12.6",
        "driver": "12.6",
        "gpu": "Orin",
        "sm": "8.7",
        "multiprocessors": 8,
        "board": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
        "size_hw": [24, 32],
        "options": {
            "optimization_level": 3,
            "workspace_share": 0.25,
            "typing": "strong",
            "flags": [],
            "tf32": False,
        },
    }


@pytest.mark.parametrize(
    "change",
    ["model", "tensorrt", "cuda", "driver", "sm", "gpu", "multiprocessors", "board", "size", "options"],
)
def test_whatever_the_engine_depends_on_builds_it_anew(
    change: str,
    trt: Any,
    model: Path,
    cuda: Any,
    install: Callable[..., Any],
    open_session: Open,
    write_model: Callable[..., Path],
    make_inputs: Inputs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(open_session(model, cuda), make_inputs())
    size, options = (24, 32), BuildOptions()
    if change == "model":
        model = write_model(18, name="other.onnx")
    elif change == "tensorrt":
        trt = install("11.4.0.106", cuda)
    elif change == "cuda":
        cuda.runtime_version = 12080
    elif change == "driver":
        cuda.driver_version = 13020
    elif change == "sm":
        cuda.attributes[76] = 2
    elif change == "multiprocessors":
        cuda.attributes[16] = 4
    elif change == "gpu":
        cuda.name = b"Thor"
    elif change == "board":
        nano = replace(NX, model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super")
        monkeypatch.setattr(tensorrt_build, "read_jetson", lambda: nano)
    elif change == "size":
        size = (24, 33)
    else:
        options = BuildOptions(optimization_level=5)
    builds = len(trt.builds)
    run(open_session(model, cuda, options=options), make_inputs(*size))
    assert len(trt.builds) == builds + 1
    assert trt.builds[-1]["level"] == options.optimization_level
    # Times measured on another GPU, or by other libraries, are not this one's.
    keeps_times = change in ("model", "size", "options")
    assert trt.builds[-1]["timing"] == (b"timed;" if keeps_times else b"")


@pytest.mark.parametrize("damage", ["truncated", "sidecar"])
def test_a_damaged_entry_is_built_again_and_never_loaded(
    damage: str, trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    run(open_session(model, cuda), make_inputs())
    for path in model.parent.glob("engines/*.bin" if damage == "truncated" else "engines/*.json"):
        path.write_bytes(path.read_bytes()[:-4])
    run(open_session(model, cuda), make_inputs())
    assert (len(trt.builds), trt.loads) == (2, 2)
    run(open_session(model, cuda), make_inputs())
    assert (len(trt.builds), trt.loads) == (2, 3)


def test_an_engine_that_tensorrt_refuses_is_built_again(
    trt: Any,
    model: Path,
    cuda: Any,
    open_session: Open,
    make_inputs: Inputs,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(open_session(model, cuda), make_inputs())
    # The same version, but another build of the library: the plan itself is what tells.
    content = b'{"version": "10.3.0+other", "shapes": {}}'
    monkeypatch.setattr("irvis_runtime.backends.engine_cache._checked_content", lambda *_: content)
    run(open_session(model, cuda), make_inputs())
    assert len(trt.builds) == 2
    assert "stdVersionRead" in caplog.text


def test_a_good_engine_for_which_memory_is_short_is_an_error_and_not_built_again(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    run(open_session(model, cuda), make_inputs())
    trt.load_error = "Error Code 2: OutOfMemory (Requested size was 20132809216 bytes.)"
    with (
        open_session(model, cuda) as session,
        pytest.raises(BackendError, match=r"failed to load the engine of model\.onnx: .*; free some memory"),
    ):
        session.infer(make_inputs())
    trt.load_error = ""
    run(open_session(model, cuda), make_inputs())
    assert len(trt.builds) == 1


def test_the_timing_cache_is_handed_from_build_to_build(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    with open_session(model, cuda) as session:
        session.infer(make_inputs(16, 16))
        session.infer(make_inputs(16, 32))
    run(open_session(model, cuda), make_inputs(32, 16))
    assert [build["timing"] for build in trt.builds] == [b"", b"timed;", b"timed;timed;"]


def test_a_timing_cache_that_tensorrt_refuses_is_left_out(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_load = EngineCache.load

    def load(self: Any, identity: dict[str, object]) -> bytes | None:
        return b"refused" if identity["kind"] == "timing" else cache_load(self, identity)

    monkeypatch.setattr(EngineCache, "load", load)
    run(open_session(model, cuda), make_inputs())
    assert trt.builds[0]["timing"] == b""
