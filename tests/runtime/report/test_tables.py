"""What a report says of runs that cannot be compared in everything."""

from __future__ import annotations

from dataclasses import replace

from irvis_runtime.report.tables import comparison_table

from .benches import make_bench

BENCH = make_bench()
OTHER = replace(BENCH, model=replace(BENCH.model, files={"fp32": "4" * 64}))


def test_runs_alike_need_no_notes() -> None:
    assert comparison_table({"one": BENCH, "two": BENCH}).notes == ()


def test_runs_without_compiled_kernels_are_named() -> None:
    plain = replace(BENCH, timing=replace(BENCH.timing, kernels="none"))
    (note,) = comparison_table({"one": BENCH, "two": plain}).notes
    assert "kernels served in some runs only" in note


def test_a_chart_that_is_missing_is_explained() -> None:
    assert comparison_table({"one": BENCH, "two": OTHER}).notes == ("The machines ran different models.",)
    other = replace(OTHER, timing=replace(OTHER.timing, kernels="none", threads=8))
    notes = comparison_table({"one": BENCH, "two": other}).notes
    expected = "No chart of likeness against speed: they differ in kernels, numbers of threads."
    assert notes[-1] == expected
