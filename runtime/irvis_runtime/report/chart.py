"""Bars of time, one small SVG a row, so that the text beside them stays as large as the page's."""

from __future__ import annotations

from collections.abc import Sequence

from irvis_runtime.bench.file import BASELINES, Bench, Percentiles

from .markup import Html, element, join
from .numbers import by_title, milliseconds, title

# The SVG's own units: it is stretched to the width that the page has.
WIDTH, HEIGHT = 1000, 20


def latency_chart(bench: Bench) -> Html:
    """A bar per precision and teacher: the stages' medians in a row, and a line to the total's p99."""
    timed = [
        (title(item.name), item.latency_ms)
        for item in by_title(bench.contenders)
        if item.latency_ms is not None and item.name not in BASELINES
    ]
    longest_ms = max((stages["total"].p99 for _, stages in timed), default=0.0)
    if longest_ms <= 0:
        return element("p", "not measured", class_="missing")
    rows = [_row(name, stages, longest_ms) for name, stages in timed]
    legend = element(
        "p",
        *(join(element("i", class_=f"key {kind}"), f" {text}  ") for kind, text in _legend(timed)),
        class_="legend",
    )
    return join(element("div", *rows, class_="chart"), legend)


def _legend(timed: Sequence[tuple[str, dict[str, Percentiles]]]) -> list[tuple[str, str]]:
    stages = dict.fromkeys(stage for _, by_stage in timed for stage in by_stage)
    texts = {"context": "context (thumbnails)", "fuse": "fuse (engine)", "total": "all stages in one"}
    shown = [stage for stage in stages if stage != "total"]
    if any(list(by_stage) == ["total"] for _, by_stage in timed):
        shown.append("total")
    return [(_kind(stage), texts.get(stage, stage)) for stage in shown] + [("tail", "up to p99")]


def _row(name: str, stages: dict[str, Percentiles], longest_ms: float) -> Html:
    total = stages["total"]
    parts = {stage: value for stage, value in stages.items() if stage != "total"} or {"total": total}
    scale, at, bars = WIDTH / longest_ms, 0.0, []
    for stage, value in parts.items():
        width = max(value.p50, 0.0) * scale
        bars.append(element("rect", x=f"{at:.1f}", y=3, width=f"{width:.1f}", height=14, class_=_kind(stage)))
        at += width
    end = max(total.p99 * scale, at)
    bars.append(element("rect", x=f"{at:.1f}", y=9, width=f"{end - at:.1f}", height=2, class_="tail"))
    label = f"{name}: p50 {milliseconds(total.p50)} ms, p99 {milliseconds(total.p99)} ms"
    picture = element(
        "svg",
        *bars,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )
    shown = ", ".join(
        f"{stage} {milliseconds(value.p50)}" for stage, value in parts.items() if stage != "total"
    )
    return join(
        element("div", name, class_="bar-name"),
        element("div", picture, class_="bar"),
        element(
            "div",
            element("b", milliseconds(total.p50)),
            " ms",
            element("small", f" {shown}") if shown else "",
            class_="bar-value",
        ),
    )


def _kind(stage: str) -> str:
    """The class that gives a stage its colour; stages that a later version adds share one."""
    return f"stage-{stage}" if stage in ("context", "fuse", "total") else "stage-other"
