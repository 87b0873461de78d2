from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_runtime.bench.file import MachineState, Percentiles
from irvis_runtime.bench.timing import (
    WARM_UP,
    Sample,
    TimedPair,
    cpu_share,
    judge_load,
    paired_ratio,
    percentile,
    summarize_stages,
    time_in_turn,
)

TIMES_MS = st.floats(0.001, 1e6, allow_nan=False)


@settings(max_examples=30, deadline=None)
@given(st.lists(TIMES_MS, min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_are_numpys(values: list[float], percent: float) -> None:
    assert percentile(values, percent) == pytest.approx(float(np.percentile(values, percent)), rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TIMES_MS, TIMES_MS), min_size=1, max_size=30))
def test_a_ratio_and_its_inverse_have_inverse_medians(times: list[tuple[float, float]]) -> None:
    ours: list[Sample] = [{"total": pair[0]} for pair in times]
    theirs: list[Sample] = [{"total": pair[1]} for pair in times]
    there, back = paired_ratio(ours, theirs), paired_ratio(theirs, ours)
    assert there.count == len(times)
    assert there.p10 <= there.median <= there.p90
    if len(times) % 2:
        assert there.median * back.median == pytest.approx(1.0)


def test_stages_are_summarized_apart() -> None:
    stages = summarize_stages([{"fuse": float(value), "total": 10.0} for value in range(101)])
    assert stages["fuse"] == Percentiles(p50=50.0, p90=90.0, p99=99.0, mean=50.0, count=101)
    assert stages["total"].p99 == 10.0


def test_contenders_take_turns_on_the_same_pair() -> None:
    calls: list[tuple[str, str]] = []
    flat_hw = np.zeros((16, 16), np.uint8)

    def contender(name: str) -> Callable[[TimedPair], Sample]:
        def fuse(pair: TimedPair) -> Sample:
            calls.append((name, pair.name))
            return {"total": 1.0}

        return fuse

    pairs = [TimedPair(name, flat_hw, flat_hw) for name in ("p", "q")]
    samples = time_in_turn({name: contender(name) for name in "abc"}, pairs, repeats=4)
    timed = calls[3 * WARM_UP :]
    assert [name for name, _ in timed] == list("abcbcacababc")
    assert [pair for _, pair in timed] == list("pppqqqpppqqq")
    assert {name: len(values) for name, values in samples.items()} == {"a": 4, "b": 4, "c": 4}


def test_timing_goes_on_for_the_seconds_asked() -> None:
    flat_hw = np.zeros((16, 16), np.uint8)
    pairs = [TimedPair("p", flat_hw, flat_hw)]
    samples = time_in_turn({"a": lambda pair: {"total": 1.0}}, pairs, repeats=1, seconds=0.05)
    assert len(samples["a"]) > 1


@pytest.mark.parametrize(
    ("load_before", "share_before", "share_after", "was_busy"),
    [
        (0.1, 1.0, 1.0, False),
        (3.0, 1.0, 1.0, True),
        (0.1, 0.5, 1.0, True),
        (0.1, 1.0, 0.5, True),
        (None, 1.0, 1.0, False),
    ],
)
def test_a_busy_machine_is_told(
    load_before: float | None, share_before: float, share_after: float, was_busy: bool
) -> None:
    before = MachineState(load_before, share_before, {})
    # The load afterwards is the run's own.
    after = MachineState(8.0, share_after, {})
    assert judge_load(before, after, cores=4).was_busy is was_busy


def test_the_share_of_the_cores_is_a_share() -> None:
    assert 0.0 < cpu_share() <= 1.0
