"""What was found, as Markdown: the verdict first, then a table a figure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from irvis_runtime.report.markup import escape_markdown
from irvis_runtime.report.numbers import metric_value

from .contenders import PUBLISHED
from .flicker import FlickerSummary
from .judged import Judged, Verdict
from .metrics_table import MetricsTable, losses
from .patch import BANDS_PX


def page(judged: Judged, verdicts: Sequence[Verdict], pictures: Sequence[Path]) -> str:
    """The whole text; pictures lie beside it."""
    setting = judged.setting
    names = ", ".join(model.name for model in judged.models)
    parts = [
        f"# {escape_markdown(names)}, judged",
        f"{judged.date}, irvis {judged.irvis}, teacher and published student: "
        f"{escape_markdown(setting.teacher)}, {len(setting.pairs)} pairs.",
        "## Verdict",
        _verdicts(verdicts),
        *_likeness(judged),
        *_flicker(
            f"Flicker on still scenes, sensor noise of {setting.noise_sigma:g} levels on both pictures",
            judged.static_flicker,
        ),
        *_flicker("Flicker on clips, motion compensated", judged.clip_flicker),
        *_patch(judged),
        *_tiles(judged),
        *_moved(judged),
        *_robustness(judged),
        *(text for name, table in judged.metrics.items() for text in _metrics(name, table, judged)),
        *_pictures(pictures),
        "## Not measured",
        "\n".join(f"- {escape_markdown(text)}" for text in judged.not_measured) or "Nothing was left out.",
        "## How to make this again",
        f"```sh\n{judged.command.replace('```', '')}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (v.model, v.figure, f"{v.found:.3f}", f"{v.limit:.3f}", "yes" if v.passed else "**NO**", v.note)
        for v in verdicts
    ]
    return _table(("model", "figure", "found", "limit", "kept", ""), rows, texts=2)


def _likeness(judged: Judged) -> list[str]:
    rows = [
        (
            name,
            f"{row.psnr_db:.2f}",
            f"{row.worst_psnr_db:.2f} ({row.worst_pair})",
            f"{row.ssim:.4f}",
            f"{row.worst_ssim:.3f}",
        )
        for name, row in judged.likeness.items()
    ]
    head = ("", "PSNR dB", "worst pair", "SSIM", "worst SSIM")
    return ["## Likeness to the teacher", _table(head, rows)] if rows else []


def _flicker(heading: str, found: dict[str, FlickerSummary]) -> list[str]:
    rows = [
        (
            name,
            f"{row.ratio:.3f}",
            f"{row.worst_ratio:.3f} ({row.worst_scene})",
            f"{row.excess:.3f}",
            f"{row.local_ratio:.3f}",
            f"{row.quadrature_ratio:.3f}",
            f"{row.pumping:.3f}",
        )
        for name, row in found.items()
    ]
    head = (
        "",
        "ratio",
        "worst",
        "excess over 1",
        "with local gain",
        "in quadrature",
        "pumping, levels",
    )
    note = (
        "Ratio: change from frame to frame / (the same of the inputs' mean picture x the gain of local "
        "contrast), so that the pixel average has 1; local gain: a gain for every pixel; in quadrature: the "
        "root of the sum of both inputs' squares in place of their mean, stricter. Pumping: change of the "
        "whole picture's mean."
    )
    return [f"## {heading}", _table(head, rows), note] if rows else []


def _patch(judged: Judged) -> list[str]:
    rows = []
    for name, by_kind in judged.patch.items():
        for kind, row in by_kind.items():
            bands = [_or_dash(value) for value in row.bands]
            settling = "-" if name == PUBLISHED else _or_dash(row.settling_s, 1)
            rows.append(
                (
                    name,
                    kind,
                    f"{row.distant:.3f}",
                    f"{row.worst_distant:.2f}",
                    *bands,
                    f"{row.final:.2f}",
                    settling,
                )
            )
    starts = [f"{start:g}" for start in BANDS_PX]
    bands = [*(f"{a} to {b} px" for a, b in pairwise(starts)), f"from {starts[-1]} px"]
    head = ("", "patch in", "jump", "worst", *bands, "in the end", "90 % after s")
    note = (
        "Mean absolute change, grey levels, of pixels more than 64 px from a white patch of 60 x 80 px: jump "
        "is the largest from one frame to the next in the first half second, by distance the first; context "
        f"smoothed over {judged.setting.context_s:g} s at 30 frames/s."
    )
    return ["## A white patch appears", _table(head, rows, texts=2), note] if rows else []


def _tiles(judged: Judged) -> list[str]:
    rows = []
    for name, row in judged.tiles.items():
        field = "whole picture" if row.field_px is None else f"{row.field_px}"
        for seams in row.seams.values():
            overlap = f"{seams.overlap_px}"
            values = (f"{seams.mean_lsb:.3f}", f"{seams.p999_lsb:.0f}", f"{seams.max_lsb}")
            rows.append((name, field, overlap, *values))
    head = ("", "receptive field px", "overlap px", "mean levels", "99.9 %", "largest")
    return ["## Tiles against the whole", _table(head, rows)] if rows else []


def _moved(judged: Judged) -> list[str]:
    if not judged.moved:
        return []
    changes = list(next(iter(judged.moved.values())))
    rows = [(name, *(f"{found[change]:.1f}" for change in changes)) for name, found in judged.moved.items()]
    note = (
        "PSNR in dB of the fused picture of a mirrored or moved pair to the mirrored or moved fused picture, "
        f"borders left out, on {len(judged.setting.static_pairs)} pairs."
    )
    return ["## Mirrored and moved pictures", _table(("", *changes), rows), note]


def _robustness(judged: Judged) -> list[str]:
    parts = []
    for name, found in judged.robustness.items():
        cells = [
            (row.psnr_db, row.published_psnr_db, row.loss_db, row.published_loss_db) for row in found.rows
        ]
        labels = [f"{row.degradation} {row.severity:g}" for row in found.rows]
        cells.append((found.psnr_db, found.published_psnr_db, found.loss_db, found.published_loss_db))
        rows = [
            (label, *(f"{value:.2f}" for value in values))
            for label, values in zip([*labels, "mean"], cells, strict=True)
        ]
        head = ("", "dB", f"dB, {PUBLISHED}", "dB lost", f"dB lost as the {PUBLISHED} would")
        parts += [
            f"## {escape_markdown(name)} on degraded inputs",
            "All against the teacher's picture of the clean inputs; on clean ones "
            f"{found.clean_psnr_db:.2f} dB.",
            _table(head, rows),
        ]
    return parts


def _metrics(set_name: str, table: MetricsTable, judged: Judged) -> list[str]:
    metrics = list(next(iter(table.rows.values())))
    rows = [
        (name, *("-" if value is None else metric_value(value) for value in row.values()))
        for name, row in table.rows.items()
    ]
    notes = [
        f"- {escape_markdown(model.name)} is behind {escape_markdown(other)} in {', '.join(behind)}."
        for model in judged.models
        for other, behind in losses(table, model.name).items()
    ]
    notes += [
        f"- {escape_markdown(name)} is left out: no picture of {count} of the {table.pairs} pairs."
        for name, count in table.left_out.items()
    ]
    heading = f"## Metrics on {escape_markdown(set_name)}, {table.pairs} pairs"
    return [heading, _table(("", *metrics), rows), "\n".join(notes)]


def _pictures(pictures: Sequence[Path]) -> list[str]:
    return ["## Pictures", *(f"![{path.stem}]({path.name})" for path in pictures)] if pictures else []


def _or_dash(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A Markdown table whose first columns are texts."""
    marks = ["---" if index < texts else "---:" for index in range(len(head))]
    lines = [_line(head), f"| {' | '.join(marks)} |", *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    shown = [cell if cell == "**NO**" else escape_markdown(cell) for cell in cells]
    return f"| {' | '.join(shown)} |"
