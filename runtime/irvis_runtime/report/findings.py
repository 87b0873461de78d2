"""What a bench says in words: wins, losses beside them, and what limits both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irvis_runtime.bench.file import BASELINES, TEACHER, Bench, Contender
from irvis_runtime.metrics import METRICS

from .numbers import fastest_student, find_contender, milliseconds, speed_up, students, title

# What a difference must exceed to be told: shares of a time, dB, shares of a metric.
NOTABLE_SPEED, NOTABLE_DB, NOTABLE_METRIC = 0.05, 0.1, 0.02
# A p99 above this many times the median is a stutter.
STUTTER = 2.0
FEW_REPEATS = 100


@dataclass(frozen=True)
class Findings:
    """Sentences."""

    wins: tuple[str, ...]
    losses: tuple[str, ...]
    limits: tuple[str, ...]
    """What the numbers do not say, and how far to trust them."""


def find(bench: Bench) -> Findings:
    """Reads the wins, losses and limits out of the numbers alone.

    Speed and the cost against FP32 are told of every precision, the rest of the fastest; the tables have all.
    """
    wins: list[str] = []
    losses: list[str] = []
    for student in students(bench):
        _judge_speed(student, bench.load.was_busy, wins, losses)
        _judge_cost(bench, student, wins, losses)
    fastest = fastest_student(bench)
    if fastest is not None:
        _judge_worst_pair(fastest, losses)
        _judge_metrics(bench, fastest, wins, losses)
    return Findings(tuple(wins), tuple(losses), tuple(_limits(bench)))


def _judge_speed(student: Contender, was_busy: bool, wins: list[str], losses: list[str]) -> None:
    name = title(student.name)
    for ratio, other in ((student.ratio_to_teacher, "the teacher"), (student.ratio_to_fp32, "FP32")):
        if ratio is None or abs(ratio.median - 1) < NOTABLE_SPEED:
            continue
        spread = f"{speed_up(ratio.p90)} to {speed_up(ratio.p10)} in 80 % of the repeats"
        (wins if ratio.median < 1 else losses).append(
            f"{name} is {speed_up(ratio.median)} than {other} ({spread})."
        )
    total = student.latency_ms["total"] if student.latency_ms else None
    if total and total.p99 > STUTTER * total.p50 and not was_busy:
        losses.append(
            f"{name} stutters: 1 picture in 100 takes {milliseconds(total.p99)} ms or more, where half take "
            f"{milliseconds(total.p50)} ms or less."
        )


def _judge_cost(bench: Bench, student: Contender, wins: list[str], losses: list[str]) -> None:
    """What the precision costs in likeness to the teacher against FP32."""
    fp32 = find_contender(bench, "fp32")
    base = fp32.to_teacher.psnr_db_mean if fp32 and fp32.to_teacher else None
    reached = student.to_teacher.psnr_db_mean if student.to_teacher else None
    if base is None or reached is None or student.name == "fp32":
        return
    name = title(student.name)
    if base - reached > NOTABLE_DB:
        losses.append(
            f"{name} is {base - reached:.2f} dB further from the teacher than FP32 ({reached:.2f} dB)."
        )
    else:
        wins.append(
            f"{name} is as like the teacher as FP32 within {NOTABLE_DB} dB "
            f"({reached:.2f} dB, FP32 {base:.2f} dB)."
        )


def _judge_worst_pair(student: Contender, losses: list[str]) -> None:
    for summary, other in ((student.to_teacher, "the teacher"), (student.to_fp32, "FP32")):
        if (
            summary is None
            or summary.psnr_db_mean is None
            or summary.psnr_db_worst is None
            or summary.pairs < 2
        ):
            continue
        losses.append(
            f"{title(student.name)} is furthest from {other} on {summary.worst_pair}: "
            f"{summary.psnr_db_worst:.1f} dB, where the mean is {summary.psnr_db_mean:.1f} dB."
        )


def _judge_metrics(bench: Bench, student: Contender, wins: list[str], losses: list[str]) -> None:
    name = title(student.name)
    baselines = [item for item in bench.contenders if item.name in BASELINES]
    if ahead := _better_in(student, baselines):
        wins.append(f"{name} is ahead of both trivial baselines in {', '.join(ahead)}.")
    for baseline in baselines:
        if behind := _better_in(baseline, [student]):
            losses.append(f"{name} is behind the {title(baseline.name).lower()} in {', '.join(behind)}.")
    teacher = find_contender(bench, TEACHER)
    if teacher and (ahead := _better_in(student, [teacher])):
        wins.append(f"{name} is ahead of its teacher in {', '.join(ahead)}.")
    if teacher and (behind := _better_in(teacher, [student])):
        losses.append(f"{name} is behind its teacher in {', '.join(behind)}.")


def _better_in(contender: Contender, others: Sequence[Contender]) -> list[str]:
    """The metrics in which it is notably better than every one of the others, who all have them."""
    names = []
    for name, ours in contender.metrics.items():
        theirs = [item.metrics.get(name) for item in others]
        known = [value for value in theirs if value is not None]
        if ours is None or not known or len(known) < len(theirs):
            continue
        sign = 1 if name not in METRICS or METRICS[name].higher_is_better else -1
        if all(sign * (ours - value) > NOTABLE_METRIC * abs(value) for value in known):
            names.append(name)
    return names


def _limits(bench: Bench) -> list[str]:
    limits = []
    if bench.load.was_busy:
        limits.append(
            "The machine was busy with other things: trust the ratios, which were taken in turn, not the "
            "times."
        )
    if bench.board.jetson is None:
        limits.append("This machine is not a Jetson; nothing here says how fast a Jetson is.")
    if bench.timing.repeats < FEW_REPEATS:
        limits.append(f"With {bench.timing.repeats} repeats, p99 is hardly more than the slowest of them.")
    teacher = find_contender(bench, TEACHER)
    backends = {item.engine.backend for item in students(bench) if item.engine}
    if teacher and teacher.engine and backends - {teacher.engine.backend}:
        limits.append(
            f"The teacher ran on {teacher.engine.backend}, the model on {', '.join(sorted(backends))}: "
            "their ratio compares the engines too."
        )
    return limits
