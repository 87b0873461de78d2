from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from irvis_runtime.bench.file import Fidelity, PairRow, Score
from irvis_runtime.bench.pictures import amplified_difference, choose_pairs, spread


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 20), st.integers(1, 200))
def test_spread_gives_different_indices_in_order(count: int, of: int) -> None:
    indices = spread(count, of)
    assert len(indices) == min(count, of)
    assert indices == sorted(set(indices))
    assert all(0 <= index < of for index in indices)


def rows_with_decibels(decibels: list[float | None]) -> list[PairRow]:
    rows = []
    for number, value in enumerate(decibels):
        scores = {
            "fp32": Score(Fidelity(value, 0.9, 1, 1), None, {}),
            "average": Score(Fidelity(1.0, 0.1, 99, 99), None, {}),
        }
        rows.append(PairRow(str(number), 64, 48, False, scores))
    return rows


def test_the_worst_pair_is_always_among_the_pictures() -> None:
    chosen = choose_pairs(rows_with_decibels([30.0, None, 29.0, 18.25, 31.0, 40.0]), 3)
    assert [index for index, why in chosen if "fp32 is 18.2 dB" in why] == [3]
    assert len(chosen) == 3
    assert choose_pairs(rows_with_decibels([30.0]), 4)[0][0] == 0
    assert choose_pairs(rows_with_decibels([30.0]), 0) == []


def test_a_difference_is_amplified_around_mid_grey() -> None:
    ours = np.array([[10, 11, 9, 255, 0]], np.uint8)
    theirs = np.array([[10, 10, 10, 0, 255]], np.uint8)
    np.testing.assert_array_equal(amplified_difference(ours, theirs), [[128, 136, 120, 255, 0]])
