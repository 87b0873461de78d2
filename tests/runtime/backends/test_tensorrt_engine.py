"""Two pictures in flight, on stand-ins for TensorRT and CUDA that run queued work only when waited for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irvis_runtime.backends.tensorrt import TensorRtSession
from irvis_runtime.backends.tensorrt_engine import DEPTH
from irvis_runtime.errors import BackendError

Open = Callable[..., TensorRtSession]
Inputs = Callable[..., dict[str, Any]]


@pytest.fixture(params=["board", "card"])
def cuda(request: pytest.FixtureRequest, make_cuda: Callable[..., Any], install: Callable[..., Any]) -> Any:
    """A GPU that shares the CPU's memory, and one that does not."""
    made = make_cuda(is_integrated=request.param == "board")
    install("10.3.0", made)
    return made


@pytest.fixture
def session(cuda: Any, write_model: Callable[..., Path], open_session: Open) -> TensorRtSession:
    return open_session(write_model(19), cuda)


def expected(inputs: dict[str, Any]) -> Any:
    return np.maximum(inputs["infrared"], inputs["visible"])


def test_the_second_is_handed_in_while_the_first_is_computed(
    session: TensorRtSession, cuda: Any, make_inputs: Inputs
) -> None:
    first, second = make_inputs(seed=1), make_inputs(seed=2)
    # The second slot's own warm-up waits for the first picture, once.
    for picture in [session.submit(make_inputs()) for _ in range(DEPTH)]:
        picture.collect()
    pending = [session.submit(first), session.submit(second)]
    wanted = [expected(first), expected(second)]
    first["infrared"][...] = second["visible"][...] = 255
    (stream,) = cuda.pending
    queued = len(cuda.pending[stream])
    assert np.array_equal(pending[0].collect()["fused"], wanted[0])
    # Half of the work is still queued: who waits for a picture does not wait for the next one.
    assert len(cuda.pending[stream]) == queued // 2 > 0
    assert np.array_equal(pending[1].collect()["fused"], wanted[1])
    session.close()
    assert set(cuda.held().values()) == {0}


def test_only_who_overlaps_pays_for_a_second_slot(
    session: TensorRtSession, cuda: Any, make_inputs: Inputs
) -> None:
    with session:
        for seed in range(3):
            session.submit(make_inputs(seed=seed)).collect()
        assert (cuda.held()["host"], cuda.held()["executables"]) == (4, 1)
        pending = [session.submit(make_inputs(seed=seed)) for seed in range(DEPTH)]
        assert (cuda.held()["host"], cuda.held()["executables"], cuda.held()["streams"]) == (8, 2, 1)
        for picture in pending:
            picture.collect()
        del cuda.calls[:]
        session.submit(make_inputs()).collect()
        assert "cudaHostAlloc" not in cuda.calls
    assert set(cuda.held().values()) == {0}


@given(order=st.lists(st.booleans(), min_size=4, max_size=24))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_order_every_picture_is_its_own(
    order: list[bool], session: TensorRtSession, make_inputs: Inputs
) -> None:
    """True submits where there is room, False collects: the newer of two first."""
    waiting: list[tuple[Any, Any]] = []
    for number, is_submit in enumerate(order):
        if is_submit and len(waiting) < DEPTH:
            inputs = make_inputs(seed=number)
            waiting.append((session.submit(inputs), expected(inputs)))
        elif waiting:
            pending, wanted = waiting.pop()
            assert np.array_equal(pending.collect()["fused"], wanted)
    for pending, wanted in waiting:
        assert np.array_equal(pending.collect()["fused"], wanted)


def test_a_third_picture_and_a_second_collection_are_errors_that_change_nothing(
    session: TensorRtSession, make_inputs: Inputs
) -> None:
    with session:
        inputs = [make_inputs(seed=seed) for seed in range(DEPTH)]
        pending = [session.submit(each) for each in inputs]
        with pytest.raises(BackendError, match="2 pictures are in flight; collect one"):
            session.submit(make_inputs())
        for picture, each in zip(pending, inputs, strict=True):
            assert np.array_equal(picture.collect()["fused"], expected(each))
        with pytest.raises(BackendError, match="collected before"):
            pending[0].collect()


def test_closing_waits_for_what_is_in_flight_and_ends_it(
    session: TensorRtSession, cuda: Any, make_inputs: Inputs
) -> None:
    pending = session.submit(make_inputs())
    session.close()
    assert set(cuda.held().values()) == {0}
    with pytest.raises(BackendError, match="closed before this picture was collected"):
        pending.collect()


def test_memory_that_is_short_for_the_second_leaves_the_first(
    session: TensorRtSession, cuda: Any, make_inputs: Inputs
) -> None:
    with session:
        first = make_inputs(seed=1)
        pending = session.submit(first)
        held = cuda.held()
        cuda.failures["cudaHostAlloc"] = 2
        with pytest.raises(BackendError, match="cudaHostAlloc failed: out of memory"):
            session.submit(make_inputs())
        assert cuda.held() == held
        assert np.array_equal(pending.collect()["fused"], expected(first))


def test_an_error_of_the_gpu_frees_the_slot(session: TensorRtSession, cuda: Any, make_inputs: Inputs) -> None:
    with session:
        pending = session.submit(make_inputs())
        cuda.failures["cudaEventSynchronize"] = 700
        with pytest.raises(BackendError, match="cudaEventSynchronize failed"):
            pending.collect()
        del cuda.failures["cudaEventSynchronize"]
        inputs = make_inputs(seed=4)
        assert np.array_equal(session.infer(inputs)["fused"], expected(inputs))
        assert cuda.held()["executables"] == 1


def test_without_a_graph_two_are_in_flight_as_well(
    session: TensorRtSession, cuda: Any, make_inputs: Inputs
) -> None:
    cuda.failures["cudaStreamBeginCapture"] = 901
    with session:
        inputs = [make_inputs(seed=seed) for seed in range(DEPTH)]
        pending = [session.submit(each) for each in inputs]
        for picture, each in zip(pending, inputs, strict=True):
            assert np.array_equal(picture.collect()["fused"], expected(each))
    assert "cudaGraphLaunch" not in cuda.calls


def test_a_size_is_loaded_from_a_cache_and_never_built(
    session: TensorRtSession,
    cuda: Any,
    write_model: Callable[..., Path],
    open_session: Open,
    make_inputs: Inputs,
) -> None:
    with session:
        assert not session.load((24, 32))
        assert not session.is_ready((24, 32))
        with open_session(session.model, cuda) as other:
            other.infer(make_inputs())
        assert session.load((24, 32))
        assert session.load((24, 32))
        assert session.is_ready((24, 32))
        assert cuda.held()["streams"] == 1
    with pytest.raises(BackendError, match="closed"):
        session.load((24, 32))
