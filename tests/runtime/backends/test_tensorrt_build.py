"""What is asked of TensorRT's builder, version by version, and how its failures are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irvis_runtime.backends import tensorrt_build
from irvis_runtime.backends.tensorrt import TensorRtSession
from irvis_runtime.backends.tensorrt_build import BuildOptions
from irvis_runtime.errors import BackendError, ContractError

Open = Callable[..., TensorRtSession]
Inputs = Callable[..., dict[str, Any]]
MIB = 1 << 20


def run(session: TensorRtSession, inputs: dict[str, Any]) -> None:
    with session:
        fused = session.infer(inputs)["fused"]
    assert np.array_equal(fused, np.maximum(inputs["infrared"], inputs["visible"]))


@pytest.mark.parametrize(
    ("version", "opset", "is_quantized", "network", "flags"),
    [
        ("10.3.0", 17, False, (), []),
        ("10.3.0", 19, False, ("STRONGLY_TYPED",), []),
        ("10.3.0", 17, True, (), ["FP16", "INT8"]),
        ("10.3.0", 19, True, ("STRONGLY_TYPED",), []),
        ("11.4.0.106", 17, False, ("STRONGLY_TYPED",), []),
        ("11.4.0.106", 19, False, ("STRONGLY_TYPED",), []),
        ("11.4.0.106", 17, True, ("STRONGLY_TYPED",), []),
        ("11.4.0.106", 19, True, ("STRONGLY_TYPED",), []),
    ],
)
def test_the_file_and_the_version_choose_the_typing(
    version: str,
    opset: int,
    is_quantized: bool,
    network: tuple[str, ...],
    flags: list[str],
    cuda: Any,
    install: Callable[..., Any],
    open_session: Open,
    write_model: Callable[..., Path],
    make_inputs: Inputs,
) -> None:
    trt = install(version, cuda)
    model = write_model(opset, is_quantized)
    run(open_session(model, cuda), make_inputs())
    (build,) = trt.builds
    assert (build["network"], build["flags"]) == (network, flags)
    assert build["model"] == model.read_bytes()
    assert build["level"] == 3


@pytest.fixture
def trt(cuda: Any, install: Callable[..., Any]) -> Any:
    return install("10.3.0", cuda)


@pytest.fixture
def model(write_model: Callable[..., Path]) -> Path:
    return write_model(19)


def test_the_workspace_is_a_share_of_the_memory_that_a_board_has_free(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_build, "memory_mb", memory(1000))
    run(open_session(model, cuda, options=BuildOptions(workspace_share=0.5)), make_inputs())
    assert trt.builds[0]["workspace"] == 500 * MIB


def memory(free_mb: int) -> Callable[..., int]:
    def memory_mb(field: str) -> int:
        assert field == "MemAvailable"
        return free_mb

    return memory_mb


def test_the_workspace_of_a_card_is_a_share_of_its_own_memory(
    install: Callable[..., Any],
    make_cuda: Callable[..., Any],
    model: Path,
    open_session: Open,
    make_inputs: Inputs,
) -> None:
    cuda = make_cuda(is_integrated=False, name=b"NVIDIA RTX A2000")
    cuda.free = 2000 * MIB
    trt = install("10.3.0", cuda)
    run(open_session(model, cuda), make_inputs())
    assert trt.builds[0]["workspace"] == 500 * MIB


def test_memory_that_runs_out_is_tried_once_more_with_half(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_build, "memory_mb", memory(1000))
    trt.build_errors = [
        "Error Code 10: Could not find any implementation for node {ForeignNode[conv...cast]}."
    ]
    run(open_session(model, cuda), make_inputs())
    assert [build["workspace"] for build in trt.builds] == [250 * MIB, 125 * MIB]


def test_memory_that_runs_out_twice_is_an_error_that_says_so(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.build_errors = [
        "Could not find any implementation for node a",
        "OutOfMemory: could not allocate\n 7 bytes",
    ]
    with (
        open_session(model, cuda) as session,
        pytest.raises(
            BackendError, match=r"for 32x24 pictures: OutOfMemory: .* 7 bytes; free some memory"
        ) as caught,
    ):
        session.infer(make_inputs())
    assert "\n" not in str(caught.value)
    assert len(trt.builds) == 2


def test_any_other_failure_is_not_tried_again_and_carries_the_last_line(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.build_errors = ["Error Code 4: Internal Error (Output tensor has type mismatch)"]
    with (
        open_session(model, cuda) as session,
        pytest.raises(BackendError, match=r"type mismatch\); take another precision"),
    ):
        session.infer(make_inputs())
    assert len(trt.builds) == 1
    assert list(model.parent.glob("engines/*.bin")) == []


def test_a_failure_without_a_word_is_not_given_the_words_of_an_earlier_one(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.build_errors = ["Could not find any implementation for node a", "out of memory", ""]
    with open_session(model, cuda) as session:
        with pytest.raises(BackendError, match=r"out of memory"):
            session.infer(make_inputs())
        with pytest.raises(BackendError, match=r"it does not say why; take another precision"):
            session.infer(make_inputs())
    assert len(trt.builds) == 3


def test_a_file_that_the_parser_refuses_names_the_node(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.parse_error = "UNSUPPORTED_NODE: Assertion failed: mode is not supported"
    with (
        open_session(model, cuda) as session,
        pytest.raises(
            ContractError, match=r"model\.onnx: In node 3 .*/up/Resize.*mode is not supported; take"
        ) as caught,
    ):
        session.infer(make_inputs())
    assert "\n" not in str(caught.value)
    assert trt.builds == []


def test_a_parser_without_memory_does_not_blame_the_file(
    trt: Any, model: Path, cuda: Any, open_session: Open, make_inputs: Inputs
) -> None:
    trt.parse_error = "INTERNAL_ERROR: std::bad_alloc"
    with (
        open_session(model, cuda) as session,
        pytest.raises(BackendError, match=r"read .*model\.onnx: .*std::bad_alloc; free some memory"),
    ):
        session.infer(make_inputs())


def test_a_file_that_is_no_onnx_is_refused_before_anything_is_built(
    trt: Any, cuda: Any, open_session: Open, tmp_path: Path
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(ContractError, match=r"broken\.onnx"):
        open_session(path, cuda)
    assert trt.builds == []
