"""Sessions on stand-ins for TensorRT and CUDA: what runs, what is kept, and that everything is freed."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.backends import cudart, tensorrt
from irvis_runtime.backends.cudart import Cudart
from irvis_runtime.backends.tensorrt import MAX_SIZES, TensorRtSession, why_not
from irvis_runtime.errors import BackendError, ContractError

Open = Callable[..., TensorRtSession]
Inputs = Callable[..., dict[str, Any]]


@pytest.fixture(params=["10.3.0", "11.4.0.106"])
def trt(request: pytest.FixtureRequest, cuda: Any, install: Callable[..., Any]) -> Any:
    return install(request.param, cuda)


@pytest.fixture
def model(write_model: Callable[..., Path]) -> Path:
    return write_model(19)


def expected(inputs: dict[str, Any]) -> Any:
    return np.maximum(inputs["infrared"], inputs["visible"])


def test_a_board_works_in_mapped_memory_without_copies(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    with open_session(model, cuda) as session:
        first, second = make_inputs(seed=1), make_inputs(seed=2)
        fused = [session.infer(inputs)["fused"] for inputs in (first, second)]
    assert np.array_equal(fused[0], expected(first))
    assert np.array_equal(fused[1], expected(second))
    assert fused[0].dtype == np.uint8
    assert "cudaMalloc" not in cuda.calls
    assert "cudaMemcpyAsync" not in cuda.calls
    assert session.versions == {"tensorrt": trt.__version__, "cuda": "12.6"}


def test_a_card_works_in_its_own_memory(
    make_cuda: Callable[..., Any],
    install: Callable[..., Any],
    model: Path,
    open_session: Open,
    make_inputs: Inputs,
) -> None:
    cuda = make_cuda(is_integrated=False)
    install("10.3.0", cuda)
    with open_session(model, cuda) as session:
        for seed in range(3):
            inputs = make_inputs(seed=seed)
            assert np.array_equal(session.infer(inputs)["fused"], expected(inputs))
        assert cuda.held()["device"] == 4
    assert set(cuda.held().values()) == {0}
    assert "cudaHostGetDevicePointer" not in cuda.calls


def test_after_the_first_picture_a_call_is_one_launch(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    with open_session(model, cuda) as session:
        session.infer(make_inputs())
        assert cuda.held()["executables"] == 1
        del cuda.calls[:]
        session.infer(make_inputs(seed=1))
        assert cuda.calls == ["cudaGraphLaunch", "cudaEventRecord", "cudaEventSynchronize"]


def test_inputs_may_have_strides_and_outputs_are_the_caller_s_own(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    inputs = make_inputs(40, 32)
    inputs["infrared"] = inputs["infrared"][..., ::-1]
    with open_session(model, cuda) as session:
        fused = session.infer(inputs)["fused"]
        wanted = expected(inputs)
        inputs["visible"][...] = 255
        session.infer(inputs)
    assert np.array_equal(fused, wanted)


@pytest.mark.parametrize(
    "failing", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiateWithFlags", "enqueue"]
)
def test_without_a_graph_the_engine_is_queued_call_by_call(
    failing: str,
    trt: Any,
    model: Path,
    cuda: Any,
    open_session: Open,
    make_inputs: Inputs,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if failing == "enqueue":
        trt.is_capture_allowed = False
    else:
        cuda.failures[failing] = 901
    with open_session(model, cuda) as session:
        for seed in range(2):
            inputs = make_inputs(seed=seed)
            assert np.array_equal(session.infer(inputs)["fused"], expected(inputs))
    assert [message for message in caplog.messages if "no CUDA graph" in message]
    assert "cudaGraphLaunch" not in cuda.calls
    assert set(cuda.held().values()) == {0}


def test_a_call_that_fails_without_a_word_is_not_given_the_words_of_the_capture(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.is_capture_allowed = False
    with open_session(model, cuda) as session:
        session.infer(make_inputs())
        trt.is_enqueue_allowed = False
        with pytest.raises(BackendError, match=r"failed to run the engine: it does not say why"):
            session.infer(make_inputs())


def test_each_size_has_its_engine_and_the_oldest_of_many_is_freed(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    sizes = [(16 + 2 * step, 16) for step in range(MAX_SIZES + 1)]
    with open_session(model, cuda) as session:
        for size in [*sizes[:-1], sizes[0], sizes[-1], sizes[0]]:
            inputs = make_inputs(*size)
            assert np.array_equal(session.infer(inputs)["fused"], expected(inputs))
        assert cuda.held()["streams"] == MAX_SIZES
        # The first was used again before the last came, so the second went.
        assert (len(trt.builds), trt.loads) == (5, 5)
        session.infer(make_inputs(*sizes[1]))
        assert (len(trt.builds), trt.loads) == (5, 6)


def test_closing_frees_everything_twice_is_harmless_and_ends_the_session(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    session = open_session(model, cuda)
    session.infer(make_inputs())
    assert cuda.held() == {"host": 4, "device": 0, "streams": 1, "events": 1, "graphs": 0, "executables": 1}
    session.close()
    session.close()
    assert set(cuda.held().values()) == {0}
    with pytest.raises(BackendError, match=r"closed"):
        session.infer(make_inputs())


def test_one_failure_to_free_keeps_nothing_else_from_being_freed(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    session = open_session(model, cuda)
    session.infer(make_inputs())
    session.infer(make_inputs(16, 16))
    cuda.failures["cudaGraphExecDestroy"] = 2
    with pytest.raises(BackendError, match=r"cudaGraphExecDestroy"):
        session.close()
    assert cuda.held() == {"host": 0, "device": 0, "streams": 0, "events": 0, "graphs": 0, "executables": 2}


@pytest.mark.parametrize(
    "failing", ["cudaHostAlloc", "cudaHostGetDevicePointer", "cudaStreamCreateWithFlags"]
)
def test_memory_that_is_short_is_an_error_that_holds_nothing(
    failing: str, trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    with open_session(model, cuda) as session:
        cuda.failures[failing] = 2
        with pytest.raises(BackendError, match=rf"{failing} failed: out of memory"):
            session.infer(make_inputs())
        assert set(cuda.held().values()) == {0}
        del cuda.failures[failing]
        inputs = make_inputs()
        assert np.array_equal(session.infer(inputs)["fused"], expected(inputs))


def test_a_context_that_gets_no_memory_carries_the_log(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.contexts_left = 0
    with (
        open_session(model, cuda) as session,
        pytest.raises(
            BackendError, match=r"execution context: Requested amount of GPU memory .*; free some memory"
        ),
    ):
        session.infer(make_inputs())
    assert set(cuda.held().values()) == {0}


def test_a_profile_that_is_refused_is_an_error_and_nothing_is_held(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.is_profile_allowed = False
    with (
        open_session(model, cuda) as session,
        pytest.raises(BackendError, match=r"take the engine's optimization profile: Setting an .* failed"),
    ):
        session.infer(make_inputs())
    assert set(cuda.held().values()) == {0}


def test_an_engine_with_another_type_is_refused(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.dtype_of_fused = "HALF"
    with (
        open_session(model, cuda) as session,
        pytest.raises(
            BackendError, match=r"fused: expected an engine with the type UINT8 or FLOAT, got HALF"
        ),
    ):
        session.infer(make_inputs())
    assert set(cuda.held().values()) == {0}


def test_an_error_of_the_gpu_is_raised_where_it_is_waited_for(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    with open_session(model, cuda) as session:
        session.infer(make_inputs())
        cuda.failures["cudaEventSynchronize"] = 700
        with pytest.raises(BackendError, match=r"cudaEventSynchronize failed: .*700"):
            session.infer(make_inputs())


def test_inputs_that_are_not_the_contract_s_are_refused(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    good = make_inputs()
    wrong: list[dict[str, Any]] = [
        {},
        {**good, "depth": good["visible"]},
        {**good, "visible": good["visible"][..., 1:]},
        {**good, "visible": good["visible"].astype(np.float32)},
        {**good, "infrared": good["infrared"][0, 0]},
        {**good, "context": good["context"].astype(np.float64)},
        {**good, "context": good["context"][:, :1]},
    ]
    with open_session(model, cuda) as session:
        for inputs in wrong:
            with pytest.raises(ContractError, match=r"^expected "):
                session.infer(inputs)
    assert trt.builds == []


def test_a_gpu_that_does_not_start_says_what_tensorrt_said(
    make_cuda: Callable[..., Any], install: Callable[..., Any], model: Path, open_session: Open
) -> None:
    cuda = make_cuda(devices=0)
    install("10.3.0", cuda)
    with pytest.raises(BackendError, match=r"failed to start: CUDA initialization failure with error: 35"):
        open_session(model, cuda)


def test_a_tensorrt_that_is_too_old_or_broken_or_missing_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: Path, cuda: Any, open_session: Open
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__="8.6.2.3"))
    with pytest.raises(BackendError, match=r"10\.3 or later, got 8\.6\.2\.3; install JetPack 6\.2 or later"):
        open_session(model, cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendError, match=r"cannot be imported.*python3-libnvinfer"):
        open_session(model, cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace())
    with pytest.raises(BackendError, match=r"cannot be imported.*__version__"):
        open_session(model, cuda)


def test_a_session_opens_what_this_machine_has(
    trt: Any, model: Path, cuda: Any, make_inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRVIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt, "open_cudart", lambda: Cudart(cuda))
    inputs = make_inputs()
    with TensorRtSession(model) as session:
        assert np.array_equal(session.infer(inputs)["fused"], expected(inputs))
    assert len(list(tmp_path.glob("cache/engines/*.bin"))) == 2


def test_it_says_in_a_few_words_why_it_cannot_run(
    cuda: Any, install: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cudart, "CDLL", lambda name: cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert why_not() == "TensorRT cannot be imported"
    install("10.3.0", cuda)
    assert why_not() == ""
    cuda.devices = 0
    assert why_not() == "no CUDA device"
