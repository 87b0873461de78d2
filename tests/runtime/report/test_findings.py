"""What a report says of wins, losses and limits."""

from __future__ import annotations

from dataclasses import replace

from irvis_runtime.bench.file import (
    Ratio,
)
from irvis_runtime.report.findings import find
from irvis_runtime.report.numbers import TIMES

from .benches import ORIN, make_bench


def test_losses_are_named_beside_wins() -> None:
    found = find(make_bench())
    assert any(f"INT8 is 12.5{TIMES} faster than the teacher" in text for text in found.wins)
    assert any("INT8 is 1.00 dB further from the teacher than FP32" in text for text in found.losses)
    assert any("INT8 is furthest from the teacher on set/1: 20.0 dB" in text for text in found.losses)
    assert "INT8 is behind the pixel average in SSIM." in found.losses
    assert "INT8 is ahead of both trivial baselines in EN." in found.wins
    assert any("not a Jetson" in text for text in found.limits)


def test_a_slower_precision_is_a_loss() -> None:
    bench = make_bench()
    slow = tuple(
        replace(item, ratio_to_fp32=Ratio(1.5, 1.4, 1.6, 200)) if item.name == "int8" else item
        for item in bench.contenders
    )
    found = find(replace(bench, contenders=slow))
    assert any(f"INT8 is 1.50{TIMES} slower than FP32" in text for text in found.losses)
    assert not any("than FP32 (" in text and "faster" in text for text in found.wins)


def test_what_limits_the_numbers_is_said() -> None:
    bench = make_bench(ORIN, was_busy=True)
    found = find(replace(bench, timing=replace(bench.timing, repeats=20)))
    assert any("busy" in text for text in found.limits)
    assert any("20 repeats" in text for text in found.limits)
    assert not any("not a Jetson" in text for text in found.limits)


def test_a_ratio_across_backends_is_said_to_compare_them() -> None:
    bench = make_bench()
    on_gpu = tuple(
        replace(item, engine=replace(item.engine, backend="tensorrt"))
        if item.engine and item.name != "teacher"
        else item
        for item in bench.contenders
    )
    assert any("compares the engines too" in text for text in find(replace(bench, contenders=on_gpu)).limits)
