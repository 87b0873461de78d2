"""The tables of a report, as cells: HTML and Markdown show the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from irvis_runtime.bench.file import (
    BASELINES,
    TEACHER,
    Bench,
    Contender,
    Fidelity,
    FidelitySummary,
    PairRow,
    Percentiles,
    Ratio,
    Timing,
)
from irvis_runtime.metrics import METRICS

from .numbers import (
    TIMES,
    by_title,
    decibels,
    kibibytes,
    metric_value,
    milliseconds,
    speed_up,
    students,
    title,
)
from .pareto import why_not_comparable


@dataclass(frozen=True)
class Cell:
    """One cell; `kind` is "name", "text", "number", "best" or "missing"."""

    text: str
    kind: str = "number"


@dataclass(frozen=True)
class Table:
    """A table with one line of heads; the first column holds the rows' names."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


NOT_MEASURED = Cell("not measured", "missing")
NOT_APPLICABLE = Cell("\N{EN DASH}", "missing")


def headline_table(bench: Bench) -> Table:
    """Speed and likeness of every precision, the teacher and the baselines."""
    timing = bench.timing
    return Table(
        caption=(
            f"Time per picture of {timing.width} {TIMES} {timing.height}, "
            f"and likeness over {bench.pairs_of.count} pairs"
        ),
        head=(
            "",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "against teacher",
            "against FP32",
            "dB to teacher",
            "worst pair dB",
            "SSIM to teacher",
            "dB to FP32",
            "levels off FP32, p99 / max",
            "file KiB",
        ),
        rows=tuple(_headline_row(contender) for contender in by_title(bench.contenders)),
        notes=_headline_notes(bench),
    )


def metrics_table(bench: Bench) -> Table:
    """The field's metrics, mean over the pairs, with the best of each column marked."""
    names = list(bench.contenders[0].metrics)
    contenders = by_title(bench.contenders)
    best = {name: _best(name, contenders) for name in names}
    rows = []
    for contender in contenders:
        values = [contender.metrics.get(name) for name in names]
        cells = [
            NOT_MEASURED
            if value is None
            else Cell(metric_value(value), "best" if value == best[name] else "number")
            for name, value in zip(names, values, strict=True)
        ]
        rows.append((Cell(title(contender.name), "name"), *cells))
    return Table(
        caption=f"Mean over {bench.pairs_of.count} pairs",
        head=("", *(f"{name} {'↑' if _is_higher_better(name) else '↓'}" for name in names)),
        rows=tuple(rows),
        notes=(
            "↑ higher is better, ↓ lower is better; the best of each column is marked.",
            "The teacher and both baselines are judged on the same pictures. EN, SD, SF and AG see the fused "
            "picture alone, so noise raises them.",
        ),
    )


def pairs_table(bench: Bench) -> Table:
    """Every pair: size and how near each precision is to the teacher and to FP32."""
    names = [contender.name for contender in by_title(students(bench))]
    head = ["Pair", "size"]
    head += [f"{title(name)} to teacher" for name in names if bench.teacher]
    head += [f"{title(name)} to FP32" for name in names if name != "fp32" and "fp32" in names]
    return Table(
        caption="PSNR in dB (SSIM)",
        head=tuple(head),
        rows=tuple(_pair_row(row, names, bench.teacher is not None) for row in bench.pairs),
    )


def comparison_table(benches: Mapping[str, Bench]) -> Table:
    """Time and likeness of each precision on each machine."""
    names = [
        item.name for item in by_title([item for bench in benches.values() for item in bench.contenders])
    ]
    rows = []
    for name in dict.fromkeys(names):
        if name in BASELINES:
            continue
        cells = [_comparison_cell(bench, name) for bench in benches.values()]
        rows.append((Cell(title(name), "name"), *cells))
    return Table(
        caption="Time per picture, p50 (p99) in ms, and speed against the teacher on the same machine",
        head=("", *benches),
        rows=tuple(rows),
        notes=_comparison_notes(list(benches.values())),
    )


def _comparison_cell(bench: Bench, name: str) -> Cell:
    contender = next((item for item in bench.contenders if item.name == name), None)
    if contender is None or contender.latency_ms is None:
        return NOT_MEASURED
    total, ratio = contender.latency_ms["total"], contender.ratio_to_teacher
    against = f", {speed_up(ratio.median)}" if ratio else ""
    return Cell(f"{milliseconds(total.p50)} ({milliseconds(total.p99)}){against}")


def _comparison_notes(benches: Sequence[Bench]) -> tuple[str, ...]:
    notes = []
    if len({(bench.timing.width, bench.timing.height) for bench in benches}) > 1:
        notes.append("The machines were timed at different sizes: compare the ratios, not the times.")
    if len({bench.timing.kernels for bench in benches}) > 1:
        notes.append(
            "irvis's compiled kernels served in some runs only: the context took longer in the others."
        )
    if len({bench.pairs_of.sha256 for bench in benches}) > 1:
        notes.append(
            "The machines judged different pictures: likeness and metrics cannot be compared across them."
        )
    if len({_model_key(bench) for bench in benches}) > 1:
        notes.append("The machines ran different models.")
        if (difference := why_not_comparable(benches)) is not None:
            notes.append(f"No chart of likeness against speed: {difference}.")
    return tuple(notes)


def _model_key(bench: Bench) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(bench.model.files.items()))


def _headline_row(contender: Contender) -> tuple[Cell, ...]:
    name = contender.name
    total = contender.latency_ms["total"] if contender.latency_ms else None
    is_student = name not in (TEACHER, *BASELINES)
    return (
        Cell(title(name), "name"),
        *_time_cells(total, may_be_timed=name not in BASELINES),
        _ratio_cell(contender.ratio_to_teacher, is_wanted=is_student),
        _ratio_cell(contender.ratio_to_fp32, is_wanted=name == TEACHER or (is_student and name != "fp32")),
        *_teacher_cells(contender.to_teacher, is_wanted=name != TEACHER),
        *_fp32_cells(contender.to_fp32, is_wanted=is_student and name != "fp32"),
        Cell(kibibytes(contender.engine.file_bytes)) if contender.engine else NOT_APPLICABLE,
    )


def _time_cells(total: Percentiles | None, may_be_timed: bool) -> tuple[Cell, ...]:
    if total is None:
        return (NOT_MEASURED if may_be_timed else NOT_APPLICABLE,) * 3
    return tuple(Cell(milliseconds(value)) for value in (total.p50, total.p90, total.p99))


def _ratio_cell(ratio: Ratio | None, is_wanted: bool) -> Cell:
    if not is_wanted:
        return NOT_APPLICABLE
    return Cell(speed_up(ratio.median)) if ratio else NOT_MEASURED


def _teacher_cells(summary: FidelitySummary | None, is_wanted: bool) -> tuple[Cell, ...]:
    if summary is None:
        return (NOT_MEASURED if is_wanted else NOT_APPLICABLE,) * 3
    worst = "identical" if summary.psnr_db_worst is None else f"{summary.psnr_db_worst:.2f}"
    return Cell(decibels(summary)), Cell(worst), Cell(f"{summary.ssim_mean:.3f}")


def _fp32_cells(summary: FidelitySummary | None, is_wanted: bool) -> tuple[Cell, ...]:
    if summary is None:
        return (NOT_MEASURED if is_wanted else NOT_APPLICABLE,) * 2
    return Cell(decibels(summary)), Cell(f"{summary.p99_lsb_worst} / {summary.max_lsb}")


def _headline_notes(bench: Bench) -> tuple[str, ...]:
    timing = bench.timing
    notes = [
        "A time is one picture from bytes in to bytes out, context included, without reading and writing "
        f"files; the median, 90 and 99 % of {timing.repeats} repeats after {timing.warm_up} to warm up, "
        f"{timing.threads} CPU threads.",
    ]
    if any(contender.ratio_to_teacher or contender.ratio_to_fp32 for contender in bench.contenders):
        notes.append(
            "Ratios are medians over repeats in which all took turns on the same picture, so that what "
            "disturbs one disturbs all; they need not equal the quotient of the medians."
        )
    notes.append(
        f"Likeness is judged {_judged_at(timing)}: PSNR and SSIM of 8-bit luma, mean over the pairs and "
        "worst; levels are of 255, and p99 is that of the worst pair."
    )
    return tuple(notes)


def _judged_at(timing: Timing) -> str:
    return (
        f"at {timing.width} {TIMES} {timing.height}"
        if timing.judged == "timed"
        else "at each pair's own size"
    )


def _best(name: str, contenders: Sequence[Contender]) -> float | None:
    values = [value for item in contenders if (value := item.metrics.get(name)) is not None]
    choose = max if _is_higher_better(name) else min
    return choose(values, default=None)


def _is_higher_better(name: str) -> bool:
    return name not in METRICS or METRICS[name].higher_is_better


def _pair_row(row: PairRow, names: Sequence[str], has_teacher: bool) -> tuple[Cell, ...]:
    scores = [row.scores.get(name) for name in names]
    cells = [Cell(row.name, "name"), Cell(f"{row.width} {TIMES} {row.height}")]
    if has_teacher:
        cells += [_fidelity_cell(score.to_teacher if score else None) for score in scores]
    if "fp32" in names:
        others = [score for name, score in zip(names, scores, strict=True) if name != "fp32"]
        cells += [_fidelity_cell(score.to_fp32 if score else None) for score in others]
    return tuple(cells)


def _fidelity_cell(fidelity: Fidelity | None) -> Cell:
    if fidelity is None:
        return NOT_MEASURED
    if fidelity.psnr_db is None:
        return Cell("identical")
    return Cell(f"{fidelity.psnr_db:.2f} ({fidelity.ssim:.3f})")
