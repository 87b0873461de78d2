"""How numbers and names are written in a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from irvis_runtime.bench.file import AVERAGE, BASELINES, MAXIMUM, TEACHER, Bench, Contender, FidelitySummary

TITLES = {
    "infrared": "Infrared",
    "visible": "Visible",
    TEACHER: "Teacher",
    "fp32": "FP32",
    "fp16": "FP16",
    "int8": "INT8",
    "int8-trt": "INT8 for TensorRT",
    "int8-fp16-trt": "INT8 + FP16 for TensorRT",
    AVERAGE: "Pixel average",
    MAXIMUM: "Pixel maximum",
}
TIMES = "\N{MULTIPLICATION SIGN}"
TIED = "\N{NO-BREAK SPACE}"
# Times nearer to each other than this are told as equal.
SAME_SPEED = 0.03


def title(name: str) -> str:
    """How a contender is called."""
    return TITLES.get(name, name)


def by_title(contenders: Iterable[Contender]) -> list[Contender]:
    """The contenders in the order of TITLES, unknown ones last."""
    order = list(TITLES)
    return sorted(contenders, key=lambda item: order.index(item.name) if item.name in order else len(order))


def students(bench: Bench) -> list[Contender]:
    """The contenders that are precisions of the model."""
    return [contender for contender in bench.contenders if contender.name not in (TEACHER, *BASELINES)]


def fastest_student(bench: Bench) -> Contender | None:
    """The precision with the shortest median; the first one where none was timed."""
    timed = [(item.latency_ms["total"].p50, item) for item in students(bench) if item.latency_ms]
    return min(timed, key=lambda entry: entry[0])[1] if timed else next(iter(students(bench)), None)


def find_contender(bench: Bench, name: str) -> Contender | None:
    """The contender of that name, if it was measured."""
    return next((contender for contender in bench.contenders if contender.name == name), None)


def milliseconds(value_ms: float) -> str:
    """Milliseconds with three digits."""
    return (
        f"{value_ms:.0f}"
        if value_ms >= 99.95
        else f"{value_ms:.1f}"
        if value_ms >= 9.995
        else f"{value_ms:.2f}"
    )


def speed_up(ratio: float) -> str:
    """A ratio of times in words: 0.1 is "10.0x faster", with the sign for times."""
    if abs(ratio - 1) <= SAME_SPEED:
        return "equal"
    if ratio <= 0:
        return "-"
    factor = 1 / ratio if ratio < 1 else ratio
    return f"{factor:.{1 if factor >= 2 else 2}f}{TIMES} {'faster' if ratio < 1 else 'slower'}"


def decibels(summary: FidelitySummary | None) -> str:
    """The mean PSNR, or "identical"."""
    if summary is None:
        return "not measured"
    return "identical" if summary.psnr_db_mean is None else f"{summary.psnr_db_mean:.2f}"


def metric_value(value: float) -> str:
    """A metric with about four digits."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def kibibytes(size_bytes: int) -> str:
    """A file's size."""
    return f"{size_bytes / 1024:.0f}" if size_bytes >= 10_240 else f"{size_bytes / 1024:.1f}"


@dataclass(frozen=True)
class Card:
    """One large number and what it is."""

    value: str
    text: str


def cards(bench: Bench) -> list[Card]:
    """The few numbers that one looks for first, of the fastest precision."""
    fastest = fastest_student(bench)
    if fastest is None:
        return []
    total = fastest.latency_ms["total"] if fastest.latency_ms else None
    name, size = title(fastest.name), f"{bench.timing.width}{TIED}{TIMES}{TIED}{bench.timing.height}"
    shown = [Card(f"{milliseconds(total.p50)} ms", f"{name}, median per picture of {size}")] if total else []
    if fastest.ratio_to_teacher:
        shown.append(Card(speed_up(fastest.ratio_to_teacher.median), f"{name} against the teacher, same run"))
    if fastest.to_teacher and fastest.to_teacher.psnr_db_mean is not None:
        worst = f", worst {fastest.to_teacher.psnr_db_worst:.1f} dB"
        shown.append(Card(f"{fastest.to_teacher.psnr_db_mean:.1f} dB", f"{name} to the teacher, mean{worst}"))
    if fastest.to_fp32 and fastest.to_fp32.psnr_db_mean is not None:
        worst = f", worst {fastest.to_fp32.psnr_db_worst:.1f} dB"
        shown.append(Card(f"{fastest.to_fp32.psnr_db_mean:.1f} dB", f"{name} to FP32, mean{worst}"))
    return shown
