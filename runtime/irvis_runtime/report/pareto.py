"""Likeness against speed for several models, as one SVG: which of them is worth having at which speed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from irvis_runtime.bench.file import TEACHER, Bench

from .markup import Html, element
from .numbers import TIMES, find_contender, students, title

# The SVG's own units, and what is left free on each side for texts.
WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 58, 130, 24, 46
STYLE = """
.pareto text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#57606a}
.pareto .name{fill:#1b1f24}.pareto line{stroke:#d8dee4}.pareto .teacher{stroke:#57606a;stroke-dasharray:4 4}
.pareto circle{fill:#64748b}.pareto .front{fill:#b6410f}.pareto path{fill:none;stroke:#b6410f;stroke-width:2}
@media (prefers-color-scheme:dark){.pareto text{fill:#9aa4b0}.pareto .name{fill:#e6e9ee}
.pareto line{stroke:#2b323b}.pareto .front{fill:#f08a4b}.pareto path{stroke:#f08a4b}}
"""
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
TEXT_PX = 14
"""Height of a line of text: labels nearer than this are moved apart."""


@dataclass(frozen=True)
class Point:
    """One precision of one model."""

    name: str
    speed_up: float
    """The teacher's time divided by this one's, in the same run."""
    psnr_db: float
    """To the teacher, mean over the pairs."""


def find_points(benches: Sequence[Bench]) -> list[Point]:
    """Every precision that was both timed beside the teacher and judged by it."""
    points = []
    for bench in benches:
        for item in students(bench):
            likeness = item.to_teacher.psnr_db_mean if item.to_teacher else None
            if item.ratio_to_teacher and item.ratio_to_teacher.median > 0 and likeness is not None:
                name = f"{bench.model.name} {title(item.name)}"
                points.append(Point(name, 1.0 / item.ratio_to_teacher.median, likeness))
    return points


def why_not_comparable(benches: Sequence[Bench]) -> str | None:
    """Why one chart cannot hold these benches; None where it can."""
    measures: Mapping[str, set[object]] = {
        "machines": {(bench.board.cpu, bench.board.cores, bench.board.jetson) for bench in benches},
        "teachers": {_teacher_of(bench) for bench in benches},
        "pictures": {bench.pairs_of.sha256 for bench in benches},
        "sizes": {(bench.timing.width, bench.timing.height, bench.timing.judged) for bench in benches},
        "kernels": {bench.timing.kernels for bench in benches},
        "numbers of threads": {bench.timing.threads for bench in benches},
    }
    different = [name for name, values in measures.items() if len(values) > 1]
    return f"they differ in {', '.join(different)}" if different else None


def is_wanted(benches: Sequence[Bench]) -> bool:
    """Whether there are several models, measured alike, with something to show."""
    models = {tuple(sorted(bench.model.files.items())) for bench in benches}
    return len(models) > 1 and why_not_comparable(benches) is None and bool(find_points(benches))


def front_of(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in speed and likeness at once, slowest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.speed_up, -point.psnr_db)):
        if not front or point.psnr_db > front[-1].psnr_db:
            front.append(point)
    return front[::-1]


def pareto_chart(points: Sequence[Point]) -> Html:
    """The chart as an SVG that stands alone: speed against the teacher, logarithmic, and dB to it."""
    scale = _Scale.around(points)
    front = front_of(points)
    steps = " ".join(
        f"{'ML'[bool(n)]}{scale.x(point.speed_up):.1f},{scale.y(point.psnr_db):.1f}"
        for n, point in enumerate(front)
    )
    marks = [
        element(
            "circle",
            element("title", _said(point)),
            cx=f"{scale.x(point.speed_up):.1f}",
            cy=f"{scale.y(point.psnr_db):.1f}",
            r=5,
            class_="front" if point in front else "behind",
        )
        for point in points
    ]
    return element(
        "svg",
        element("style", Html(STYLE)),
        *_axes(scale),
        element("path", d=steps),
        *marks,
        *_labels(points, front, scale),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        class_="pareto",
        role="img",
        aria_label="; ".join(_said(point) for point in points),
    )


@dataclass(frozen=True)
class _Scale:
    """Where values lie in the SVG."""

    low_log: float
    high_log: float
    low_db: float
    high_db: float

    @staticmethod
    def around(points: Sequence[Point]) -> _Scale:
        logs = [0.0, *(math.log10(point.speed_up) for point in points)]
        decibels = [point.psnr_db for point in points]
        return _Scale(
            min(logs) - 0.1, max(logs) + 0.1, math.floor(min(decibels) - 0.4), math.ceil(max(decibels) + 0.2)
        )

    def x(self, speed_up: float) -> float:
        share = (math.log10(speed_up) - self.low_log) / (self.high_log - self.low_log)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, decibels: float) -> float:
        share = (decibels - self.low_db) / (self.high_db - self.low_db)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _axes(scale: _Scale) -> list[Html]:
    drawn = []
    step = max(1, round((scale.high_db - scale.low_db) / 8))
    for decibels in range(int(scale.low_db), int(scale.high_db) + 1, step):
        y = f"{scale.y(decibels):.1f}"
        drawn.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y))
        drawn.append(
            element("text", str(decibels), x=LEFT - 8, y=y, text_anchor="end", dominant_baseline="middle")
        )
    for tick in TICKS:
        if scale.low_log <= math.log10(tick) <= scale.high_log:
            x = f"{scale.x(tick):.1f}"
            kind = "teacher" if tick == 1 else None
            drawn.append(element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_=kind))
            drawn.append(
                element("text", f"{tick:g}{TIMES}", x=x, y=HEIGHT - BOTTOM + 18, text_anchor="middle")
            )
    middle = (LEFT + WIDTH - RIGHT) / 2
    drawn.append(
        element("text", "speed against the teacher, same run", x=middle, y=HEIGHT - 8, text_anchor="middle")
    )
    drawn.append(element("text", "dB to the teacher", x=8, y=14))
    drawn.append(element("text", "teacher", x=f"{scale.x(1) + 5:.1f}", y=TOP + 12))
    return drawn


def _labels(points: Sequence[Point], front: Sequence[Point], scale: _Scale) -> list[Html]:
    """The names, right of their points; where one would lie on another it is moved on.

    The line falls to the right through the front, whose names lie above it; the others' lie below.
    """
    behind = sorted((point for point in points if point not in front), key=lambda point: -point.psnr_db)
    placed: list[tuple[float, float]] = []
    drawn = []
    for point, offset in [
        *((point, -8.0) for point in reversed(front)),
        *((point, 14.0) for point in behind),
    ]:
        x, y = scale.x(point.speed_up) + 9, scale.y(point.psnr_db) + offset
        while any(abs(x - other_x) < RIGHT and abs(y - other_y) < TEXT_PX for other_x, other_y in placed):
            y += math.copysign(1.0, offset)
        placed.append((x, y))
        drawn.append(
            element("text", point.name, x=f"{x:.1f}", y=f"{y:.1f}", class_="name", dominant_baseline="middle")
        )
    return drawn


def _said(point: Point) -> str:
    return f"{point.name}: {point.speed_up:.1f}{TIMES}, {point.psnr_db:.2f} dB"


def _teacher_of(bench: Bench) -> str | None:
    teacher = find_contender(bench, TEACHER)
    return teacher.engine.sha256 if teacher and teacher.engine else None
