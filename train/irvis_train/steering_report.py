"""What `irvis train steer` reports: measures of teachers, and texts judged against their opposites."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from irvis_runtime.errors import ContractError

from .checkerboard import PERIODS_PX

PUBLISHED = "published"
CONTRAST, GRADIENT, BOTH = "target_contrast", "background_gradient", "both"
MEASURES = (CONTRAST, GRADIENT)
WANTED = 0.20
"""Share by which a text must move its own measure against its opposite, and may not move the other."""


@dataclass(frozen=True)
class Comparison:
    """Two labels whose texts are each other's opposite, and the measure that they speak of."""

    label: str
    opposite: str
    measure: str

    @staticmethod
    def parse(text: str) -> Comparison:
        """From LABEL:OPPOSITE:MEASURE."""
        parts = text.split(":")
        if len(parts) != 3 or parts[2] not in (*MEASURES, BOTH):
            known = ", ".join((*MEASURES, BOTH))
            raise ContractError(
                f"--compare: expected LABEL:OPPOSITE:MEASURE, a measure of {known}, got {text!r}"
            )
        return Comparison(*parts)


@dataclass(frozen=True)
class Verdict:
    """How far a text moved the measures against its opposite, as shares of the opposite's."""

    label: str
    opposite: str
    measure: str
    moved: Mapping[str, float]
    holds: bool
    """Its own by 20 % or more, the other by less."""


@dataclass
class Steered:
    """One teacher's measures."""

    label: str
    teacher: str
    texts: Sequence[str]
    per_pair: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """By pair, then by measure; None where a pair has no target, or is too small for a spectrum."""

    def mean(self, measure: str) -> float | None:
        """Over the pairs that have it."""
        values = [row[measure] for row in self.per_pair.values()]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known else None


def line_name(period_px: int) -> str:
    """The checkerboard measure's name."""
    return f"checkerboard_{period_px}px_db"


def judge(comparison: Comparison, by_label: Mapping[str, Steered]) -> Verdict:
    """How far the text moved its own measure and the other one."""
    moved: dict[str, float] = {}
    for measure in MEASURES:
        value, opposite = (by_label[name].mean(measure) for name in (comparison.label, comparison.opposite))
        moved[measure] = value / opposite - 1.0 if value is not None and opposite else 0.0
    own = MEASURES if comparison.measure == BOTH else (comparison.measure,)
    holds = all(
        moved[measure] >= WANTED if measure in own else abs(moved[measure]) < WANTED for measure in MEASURES
    )
    return Verdict(comparison.label, comparison.opposite, comparison.measure, moved, holds)


def report_json(found: Sequence[Steered], verdicts: Sequence[Verdict]) -> str:
    """All measures, by pair and mean, and the verdicts."""
    measures = (*MEASURES, *(line_name(period_px) for period_px in PERIODS_PX))
    teachers: list[dict[str, Any]] = [
        {
            "label": steered.label,
            "teacher": steered.teacher,
            "texts": list(steered.texts),
            "mean": {measure: steered.mean(measure) for measure in measures},
            "pairs": steered.per_pair,
        }
        for steered in found
    ]
    content = {"teachers": teachers, "comparisons": [asdict(verdict) for verdict in verdicts]}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def report_markdown(found: Sequence[Steered], verdicts: Sequence[Verdict], pairs: int) -> str:
    """The means and the verdicts as tables."""
    published = next((steered for steered in found if steered.label == PUBLISHED), None)
    lines = [
        f"# Steering by text, mean of {pairs} pairs",
        "",
        "Target contrast: hot targets less their surroundings, grey levels. Background gradient: outside",
        "targets, grey levels a pixel. Checkerboard: energy at periods of 2, 4 and 8 px over that beside",
        "them in the spectrum of flat places, dB; in brackets above the published checkpoint's.",
        "",
        "| teacher | text | target contrast | background gradient | 2 px | 4 px | 8 px |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for steered in found:
        cells = [_shown(steered.mean(measure), 1) for measure in MEASURES]
        for period_px in PERIODS_PX:
            value = steered.mean(line_name(period_px))
            base = published.mean(line_name(period_px)) if published is not None else None
            above = f" ({value - base:+.1f})" if value is not None and base is not None else ""
            cells.append(_shown(value, 1) + above)
        text = "; ".join(steered.texts).replace("|", "\\|") or "-"
        lines.append(f"| {steered.label} | {text} | {' | '.join(cells)} |")
    if verdicts:
        lines += ["", "| text | against | speaks of | target contrast | background gradient | holds |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
    for verdict in verdicts:
        moved = " | ".join(f"{100.0 * verdict.moved[measure]:+.1f} %" for measure in MEASURES)
        lines.append(
            f"| {verdict.label} | {verdict.opposite} | {verdict.measure.replace('_', ' ')} | {moved} "
            f"| {'yes' if verdict.holds else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
