"""OpenVINO itself on the shipped model, against ONNX Runtime; skipped where it is not installed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime import BackendError, Fuser, default_model_dir
from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.backends.openvino import MAX_SIZES, OpenVinoSession, why_not
from irvis_runtime.contract import checked_model_path, load_manifest
from irvis_runtime.scenes import SceneRenderer, random_scene

Inputs = Callable[..., dict[str, Any]]


@pytest.fixture
def openvino() -> Any:
    return pytest.importorskip("openvino", reason="needs openvino: pip install openvino")


@pytest.fixture
def model() -> Path:
    """The shipped model in FP32."""
    return checked_model_path(default_model_dir(), load_manifest(default_model_dir()), "fp32")


@pytest.fixture
def open_session(openvino: Any, model: Path, tmp_path: Path) -> Callable[..., OpenVinoSession]:
    def open_(path: Path = model, cache: EngineCache | None = None) -> OpenVinoSession:
        return OpenVinoSession(path, 1, EngineCache(tmp_path) if cache is None else cache)

    return open_


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-trt"])
def test_the_picture_is_that_of_onnx_runtime(
    precision: str,
    openvino: Any,
    tolerances: Mapping[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IRVIS_CACHE", str(tmp_path))
    with Fuser(precision="fp32", backend="onnxruntime") as exact, Fuser(None, precision, "openvino") as fuser:
        assert fuser.versions == {"openvino": openvino.__version__.partition("-")[0]}
        assert fuser.description.startswith(f"openvino {fuser.versions['openvino']}, {precision}, ")
        for seed, size_hw in enumerate([(96, 128), (97, 131), (96, 128)]):
            frame = SceneRenderer(random_scene(seed, size_hw)).frame(0.0)
            pictures = frame.infrared_hw, np.ascontiguousarray(frame.visible_hw3[..., 1])
            wanted = exact.fuse(*pictures).astype(float)
            error = np.abs(fuser.fuse(*pictures) - wanted)
            if precision == "int8-trt":
                psnr_db = 10 * np.log10(255**2 / np.square(error).mean())
                assert psnr_db > tolerances["int8-trt_min_psnr_db"]
            else:
                assert error.max() <= tolerances[f"{precision}_max_lsb"]


def test_the_int8_of_onnx_runtime_is_not_offered() -> None:
    with pytest.raises(Exception, match="no file of precision 'int8' for openvino"):
        Fuser(precision="int8", backend="openvino")


def test_outputs_are_the_caller_s_and_inputs_stay(
    open_session: Callable[..., OpenVinoSession], make_inputs: Inputs
) -> None:
    inputs = make_inputs(40, 48)
    before = {name: array.copy() for name, array in inputs.items()}
    with open_session() as session:
        first = session.infer(inputs)["fused"]
        kept = first.copy()
        pending = session.submit(make_inputs(40, 48, seed=1))
        assert not np.array_equal(pending.collect()["fused"], kept)
    np.testing.assert_array_equal(first, kept)
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, before[name])


def test_views_give_the_same_as_copies(
    open_session: Callable[..., OpenVinoSession], make_inputs: Inputs
) -> None:
    inputs = make_inputs(40, 48)
    inputs["infrared"] = inputs["infrared"][..., ::-1]
    copies = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
    with open_session() as session:
        np.testing.assert_array_equal(session.infer(inputs)["fused"], session.infer(copies)["fused"])


def test_each_size_is_compiled_once_and_the_oldest_of_many_is_dropped(
    open_session: Callable[..., OpenVinoSession], make_inputs: Inputs, tmp_path: Path
) -> None:
    with open_session() as session:
        for side in (16, 20, 24, 28, 32, 32):
            assert session.infer(make_inputs(side, 32))["fused"].shape == (1, 1, side, 32)
        assert len(session._sizes) == MAX_SIZES
    kept = sorted(path.name for path in (tmp_path / "openvino").iterdir())
    assert len(kept) == 5
    with open_session() as session:
        session.infer(make_inputs(24, 32))
    assert sorted(path.name for path in (tmp_path / "openvino").iterdir()) == kept


def test_threads_take_turns(open_session: Callable[..., OpenVinoSession], make_inputs: Inputs) -> None:
    with open_session() as session:
        wanted = {seed: session.infer(make_inputs(32, 32, seed))["fused"] for seed in range(4)}
        found: dict[int, Any] = {}

        def run(seed: int) -> None:
            found[seed] = session.infer(make_inputs(32, 32, seed))["fused"]

        threads = [threading.Thread(target=run, args=(seed,)) for seed in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, fused in wanted.items():
        np.testing.assert_array_equal(found[seed], fused)


def test_what_is_wrong_is_one_line(
    open_session: Callable[..., OpenVinoSession], make_inputs: Inputs, tmp_path: Path
) -> None:
    inputs = make_inputs(32, 32)
    with open_session(cache=EngineCache(None)) as session:
        for wrong in (
            {**inputs, "visible": inputs["visible"].astype(np.float32)},
            {**inputs, "infrared": inputs["infrared"][0]},
            {"infrared": inputs["infrared"]},
        ):
            with pytest.raises(BackendError, match=r"^OpenVINO failed \(") as caught:
                session.infer(wrong)
            assert "\n" not in str(caught.value)
        session.infer(inputs)
    with pytest.raises(BackendError, match="closed"):
        session.infer(inputs)
    session.close()
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(BackendError, match=r"broken\.onnx: OpenVINO .* cannot load it \(") as caught:
        open_session(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)


def test_without_openvino_the_error_names_the_command(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert why_not() == "OpenVINO is missing"
    with pytest.raises(BackendError, match=r"OpenVINO is missing .*install it with `pip install openvino`"):
        OpenVinoSession(model)
