from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from irvis_runtime import BackendError
from irvis_runtime.backends import cudart, open_session
from irvis_runtime.backends.engine_cache import EngineCache
from irvis_runtime.backends.onnxruntime import CPU, CUDA, TENSORRT, OnnxRuntimeSession, why_not


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """left, right (N,) -> their sum and difference, given out in this order."""
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["left", "right"], ["sum"]),
            helper.make_node("Sub", ["left", "right"], ["difference"]),
        ],
        "small",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("left", "right")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in ("sum", "difference")],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def ones(length: int) -> NDArray[np.float32]:
    return np.ones(length, np.float32)


def test_binds_by_name_not_by_position(model: Path) -> None:
    with OnnxRuntimeSession(model, threads=1) as session:
        found = session.infer({"right": 2 * ones(3), "left": 5 * ones(3)})
    assert list(found) == ["sum", "difference"]
    np.testing.assert_array_equal(found["sum"], 7 * ones(3))
    np.testing.assert_array_equal(found["difference"], 3 * ones(3))


def test_size_may_change_from_call_to_call(model: Path) -> None:
    with OnnxRuntimeSession(model) as session:
        for length in (1, 5, 2):
            assert session.infer({"left": ones(length), "right": ones(length)})["sum"].shape == (length,)


def test_says_its_version(model: Path) -> None:
    with OnnxRuntimeSession(model) as session:
        assert session.versions == {"onnxruntime": onnxruntime.__version__}


def test_is_what_open_session_gives_for_its_name(model: Path) -> None:
    with open_session("onnxruntime", model, 1) as session:
        assert isinstance(session, OnnxRuntimeSession)


def test_missing_and_wrong_inputs_are_one_line(model: Path) -> None:
    with OnnxRuntimeSession(model) as session:
        wrong: list[dict[str, NDArray[Any]]] = [{"left": ones(3)}, {"left": ones(3), "right": np.ones(3)}]
        for inputs in wrong:
            with pytest.raises(BackendError, match="ONNX Runtime failed") as caught:
                session.infer(inputs)
            assert "\n" not in str(caught.value)


def test_closed_session_says_so(model: Path) -> None:
    session = OnnxRuntimeSession(model)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="this ONNX Runtime session is closed"):
        session.infer({"left": ones(3), "right": ones(3)})


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08" * 40])
def test_a_file_that_is_no_model_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BackendError, match=r"broken\.onnx: ONNX Runtime .* cannot load it \(") as caught:
        OnnxRuntimeSession(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot load it"):
        OnnxRuntimeSession(tmp_path / "nowhere.onnx")


def test_without_onnx_runtime_the_error_names_the_command(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        BackendError, match=r"ONNX Runtime is missing .*install it with `pip install onnxruntime`"
    ):
        OnnxRuntimeSession(model)


class FakeOptions:
    intra_op_num_threads = log_severity_level = 0
    enable_cpu_mem_arena = enable_mem_pattern = True

    def add_session_config_entry(self, key: str, value: str) -> None: ...


class FakeOnnxRuntime:
    """onnxruntime-gpu as far as a session needs it; `loads`: the providers whose libraries are there."""

    __version__ = "1.32.0"
    SessionOptions = FakeOptions

    def __init__(self, built_with: list[str], loads: list[str]) -> None:
        self.built_with, self.loads = built_with, loads
        self.asked: list[Any] = []
        self.is_preloaded = False

    def disable_telemetry_events(self) -> None: ...

    def get_available_providers(self) -> list[str]:
        return self.built_with

    def preload_dlls(self) -> None:
        sys.stdout.write("Failed to load libcudart\n")
        self.is_preloaded = True

    def InferenceSession(
        self, path: str, options: FakeOptions, providers: list[Any], enable_fallback: int
    ) -> Any:
        assert enable_fallback == 0, "another provider would be taken silently"
        self.asked = providers
        names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
        active = [name for name in names if name in self.loads]
        output = types.SimpleNamespace(name="sum")
        return types.SimpleNamespace(
            get_providers=lambda: active, get_outputs=lambda: [output], disable_fallback=lambda: None
        )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeOnnxRuntime:
    """onnxruntime-gpu on a machine that has all that it needs."""
    fake = FakeOnnxRuntime([TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU])
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    return fake


def test_the_cpu_s_provider_is_asked_for_alone(gpu: FakeOnnxRuntime, model: Path) -> None:
    OnnxRuntimeSession(model)
    assert gpu.asked == [CPU]
    assert not gpu.is_preloaded


def test_cuda_computes_in_real_fp32_and_does_not_search_for_seconds(
    gpu: FakeOnnxRuntime, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_session("onnxruntime-cuda", model, None) as session:
        assert session.versions == {"onnxruntime": "1.32.0"}
    assert gpu.asked == [(CUDA, {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}), CPU]
    assert gpu.is_preloaded
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("opset", "is_quantized"), [(17, False), (19, False), (19, True)])
def test_the_tensorrt_provider_gets_the_precision_the_clamp_and_a_folder_for_this_file(
    opset: int,
    is_quantized: bool,
    gpu: FakeOnnxRuntime,
    write_model: Any,
    tmp_path: Path,
) -> None:
    folders = []
    for name in ("a.onnx", "b.onnx"):
        path = write_model(opset, is_quantized, name)
        OnnxRuntimeSession(path, provider=TENSORRT, cache=EngineCache(tmp_path / "engines"))
        (tensorrt, options), (cuda, _), cpu = gpu.asked
        assert (tensorrt, cuda, cpu) == (TENSORRT, CUDA, CPU)
        assert options["trt_fp16_enable"] == str(opset == 19)
        assert options["trt_int8_enable"] == str(is_quantized)
        switches = [value for key, value in options.items() if key.endswith("_enable")]
        assert set(switches) <= {"True", "False"}, "the provider refuses 1 and 0"
        assert 0 < int(options["trt_max_workspace_size"]) <= 1 << 30
        assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"]
        folders.append(Path(options["trt_engine_cache_path"]))
    assert folders[0] == folders[1]
    assert folders[0].is_dir()
    other = write_model(18, is_quantized, "c.onnx")
    OnnxRuntimeSession(other, provider=TENSORRT, cache=EngineCache(tmp_path / "engines"))
    assert gpu.asked[0][1]["trt_engine_cache_path"] != str(folders[0])
    OnnxRuntimeSession(other, provider=TENSORRT, cache=EngineCache(None))
    assert not any("cache" in key for key in gpu.asked[0][1])


@pytest.mark.parametrize(
    ("backend", "provider"), [("onnxruntime-cuda", CUDA), ("onnxruntime-tensorrt", TENSORRT)]
)
def test_a_provider_that_does_not_load_is_never_replaced_silently(
    backend: Any,
    provider: str,
    gpu: FakeOnnxRuntime,
    write_model: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IRVIS_CACHE", str(tmp_path / "cache"))
    path = write_model()
    gpu.loads.remove(provider)
    with pytest.raises(BackendError, match=f"{provider} does not load, only .*CPUExecutionProvider; install"):
        open_session(backend, path, None)
    gpu.built_with.remove(provider)
    with pytest.raises(BackendError, match=f"expected an ONNX Runtime with the {provider}, got one with"):
        open_session(backend, path, None)


def test_it_says_in_a_few_words_what_a_provider_lacks(
    gpu: FakeOnnxRuntime, make_cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = make_cuda()
    monkeypatch.setattr(cudart, "CDLL", lambda name: cuda)
    assert (why_not(), why_not(CUDA), why_not(TENSORRT)) == ("", "", "")
    cuda.devices = 0
    assert (why_not(), why_not(CUDA)) == ("", "no CUDA device")
    gpu.built_with.remove(CUDA)
    assert why_not(CUDA) == "ONNX Runtime has no CUDA provider"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert (why_not(), why_not(CUDA)) == ("ONNX Runtime is missing", "ONNX Runtime is missing")


def test_the_options_are_those_of_the_real_module() -> None:
    """The stand-in above takes any name; this one does not."""
    options = onnxruntime.SessionOptions()
    assert options.enable_cpu_mem_arena
    assert options.enable_mem_pattern
    assert {CUDA, TENSORRT} <= set(onnxruntime.get_all_providers())
